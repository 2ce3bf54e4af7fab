"""What the worker does where it shares the machine's namespaces: the level ``landlock``. Runs inside the box, like worker.py.

The warm parent becomes nobody (when it is root) and opens what programs may read. A supervisor makes a folder for its
program, watches it, and removes it. The program's process shuts itself in before it reads the program. All of them die
with the one above, and what one leaves behind is killed by the one above.
"""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import Any

import confine  # type: ignore[import-not-found]
import landlock  # type: ignore[import-not-found]
import scratch  # type: ignore[import-not-found]

_SEARCH_CAPABILITY = 1 << 2


class LandlockIsolation:
    """Where the programs of one box live.

    Args:
        plan: ``folder``: the box's own; ``abi``; ``readable``, ``hidden``, ``listable`` and ``devices``: lists of paths.

    Raises:
        OSError: this level cannot be had here.
    """

    def __init__(self, plan: dict[str, Any]) -> None:
        self._base = plan["folder"]
        self._folder = ""
        self._supervisor = 0
        self._parent = os.getpid()
        os.setsid()
        confine.become_subreaper()
        readable, hidden, listable, devices = (
            [Path(text) for text in plan[key]] for key in ("readable", "hidden", "listable", "devices")
        )
        closed = [path for path in readable if not path.is_relative_to(self._base) and not _open_to_all(path)]
        self._capabilities = _SEARCH_CAPABILITY if closed and os.getuid() == 0 else 0
        try:
            confine.become_nobody(keep_search=self._capabilities != 0)
        except OSError as error:
            lacking = "CAP_SETUID, CAP_SETGID" + (f", or CAP_DAC_READ_SEARCH to read {closed[0]}" if closed else "")
            raise OSError(error.errno, f"root lacks {lacking}, so it cannot run programs as nobody") from None
        os.chdir(self._base)
        self._fork_cleaner()
        self._rulesets = landlock.Rulesets(plan["abi"], readable, hidden, listable, devices, Path(self._base))

    def _fork_cleaner(self) -> None:
        """A process that removes the box's folder should this one be killed, also together with the trusted side."""
        reading, self._not_ended = os.pipe()  # its end is read when this process and all supervisors are gone
        if os.fork() == 0:
            os.setsid()
            os.closerange(0, reading)
            os.closerange(reading + 1, 1 << 16)
            os.read(reading, 1)
            try:
                scratch.remove(self._base)
            finally:
                os._exit(0)
        os.close(reading)

    def begin(self) -> None:
        """In the supervisor, before it forks the program's process."""
        confine.die_with_parent(self._parent)
        confine.become_subreaper()
        self._supervisor = os.getpid()
        self._folder = f"{self._base}/{self._supervisor}"
        os.mkdir(self._folder, 0o700)

    def enter(self) -> None:
        """In the program's process, while the descriptors of what it may read are still open."""
        confine.die_with_parent(self._supervisor)
        self._rulesets.restrict_self(self._folder)
        os.chdir(self._folder)
        os.environ["HOME"] = os.environ["TMPDIR"] = self._folder

    def lock(self) -> None:
        """In the program's process, last of all."""
        confine.keep_capabilities(self._capabilities)
        confine.filter_system_calls(shared=True)

    def watch(self, child: int, limits: dict[str, int]) -> tuple[int, resource.struct_rusage, str]:
        """In the supervisor, until nothing is left of the program: see ``scratch.watch``."""
        code, usage, why = scratch.watch(child, self._folder, limits["tmp_bytes"], limits["threads"])
        scratch.remove(self._folder)
        return code, usage, why

    def end(self) -> None:
        """In the warm parent, when nobody is left to ask for programs."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a child that dies by itself stays until it is reaped
        scratch.end_children()
        scratch.remove(self._base)


def _open_to_all(path: Path) -> bool:
    """Whether any user can come to this file or folder, if there is one, and read it."""
    place = path.resolve()
    if not place.exists():
        return True
    needed = 0o005 if place.is_dir() else 0o004
    return place.stat().st_mode & needed == needed and all(above.stat().st_mode & 0o001 for above in place.parents)


def start(plan: dict[str, Any]) -> LandlockIsolation:
    """See ``LandlockIsolation``; what keeps this level from holding is one line on standard error."""
    try:
        return LandlockIsolation(plan)
    except OSError as error:
        raise SystemExit(error.strerror or str(error)) from None
