"""A program's own folder where it has no file system of its own: bounded by watching, and removed with all that is in it.

The supervisor of a program does both; it runs no code of the program. Also used outside the box, to clear up after a box
that died: the standard library alone.

What watching cannot see is what has no name any more: files that were deleted and are still open. Their number and size
are bounded by the limits on open files and on the size of a file.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import time
from pathlib import Path

MOST_ENTRIES = 2048
_TICK_MILLISECONDS = 50
_CLEAR_SECONDS = 8.0
_BLOCK_BYTES = 512


def watch(child: int, folder: str, most_bytes: int, most_threads: int) -> tuple[int, resource.struct_rusage, str]:
    """Wait for the program's end, or kill it when it goes too far; then kill and reap all that it left.

    The caller is a subreaper: whatever the program started becomes its child.

    Returns:
        The status of wait4, the resources used, and why it was killed, which is empty when it was not.
    """
    ended = os.pidfd_open(child)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    why = ""
    while not why and not poll.poll(_TICK_MILLISECONDS):
        why = excess(child, folder, most_bytes, most_threads)
    if why:
        signal.pidfd_send_signal(ended, signal.SIGKILL)
    os.close(ended)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # not reaped yet, so the number is still its own
    _, code, usage = os.wait4(child, 0)
    end_children()
    return code, usage, why


def end_children() -> None:
    """Kill and reap every child of this process; returns when there is none.

    SIGCHLD must not be ignored: a child that vanishes between being found and being killed would be an error here.
    """
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            for name in os.listdir("/proc"):
                if name.isdigit() and _stat_fields(int(name))[1:2] == [str(os.getpid())]:
                    os.kill(int(name), signal.SIGKILL)
            time.sleep(0.001)


def excess(pid: int, folder: str, most_bytes: int, most_threads: int) -> str:
    """What the program has too much of; empty when nothing."""
    fields = _stat_fields(pid)
    if len(fields) > 17 and int(fields[17]) > most_threads:
        return f"it started more than {most_threads} threads"
    try:
        used, entries = usage_of(folder)
    except OSError as error:
        return f"its temporary files cannot be counted ({os.strerror(error.errno or 0)})"
    if used > most_bytes:
        return f"its temporary files took more than {most_bytes} bytes"
    return f"it made more than {MOST_ENTRIES} temporary files" if entries > MOST_ENTRIES else ""


def _stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; none when it is gone or hidden."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return []


def usage_of(folder: str) -> tuple[int, int]:
    """Bytes on disk and number of entries below a folder; it stops counting at the first entry that is too many.

    Raises:
        OSError: a folder cannot be listed, or its path is too long: that is done on purpose.
    """
    used = entries = 0
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    entries += 1
                    if entries > MOST_ENTRIES:
                        return used, entries
                    used += entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except FileNotFoundError:
            continue  # removed meanwhile
    return used, entries


def remove(folder: str) -> None:
    """Remove a folder with all that is in it, however deep and whatever its modes; no link is followed.

    Processes that are being killed may still write for a moment, so it tries for some seconds.

    Raises:
        OSError: something stays.
    """
    give_up = time.monotonic() + _CLEAR_SECONDS
    while True:
        try:
            top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        try:
            _empty(top)
            os.rmdir(folder)
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        finally:
            os.close(top)


def _empty(top: int) -> None:
    """Folders in folders are moved up and then emptied in turn: neither the stack nor a path can get too long."""
    while entries := list(os.scandir(top)):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=top)
                continue
            inner = _open_folder(entry.name, top)
            try:
                for below in list(os.scandir(inner)):
                    if below.is_dir(follow_symlinks=False):
                        os.close(_open_folder(below.name, inner))
                        os.rename(below.name, f".{os.urandom(12).hex()}", src_dir_fd=inner, dst_dir_fd=top)
                    else:
                        os.unlink(below.name, dir_fd=inner)
            finally:
                os.close(inner)
            os.rmdir(entry.name, dir_fd=top)


def _open_folder(name: str, above: int) -> int:
    """Open it and make it writable, by its descriptor: the name may be a link a moment later."""
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
    try:
        os.chmod(f"/proc/self/fd/{handle}", 0o700)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=handle)
    finally:
        os.close(handle)


class OwnFolder:
    """Where programs run that nothing isolates, at the level ``none``: each in a new folder, which goes with it."""

    def begin(self) -> None:
        """In the supervisor, before it forks the program's process."""
        self._folder = f"/tmp/evolcoder-program-{os.urandom(8).hex()}"
        os.mkdir(self._folder, 0o700)

    def enter(self) -> None:
        """In the program's process."""
        os.chdir(self._folder)

    def lock(self) -> None:
        """In the program's process, last of all: nothing is shut."""

    def watch(self, child: int, limits: dict[str, int]) -> tuple[int, resource.struct_rusage, str]:
        """In the supervisor: wait for the program's end. See ``watch``; nothing is too much here."""
        _, code, usage = os.wait4(child, 0)
        with contextlib.suppress(OSError):
            remove(self._folder)
        return code, usage, ""

    def end(self) -> None:
        """In the warm parent, in the end: there is nothing to clear up."""
