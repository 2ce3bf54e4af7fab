"""One warm box: a sandbox whose parent process forks a fresh process for every program. Replaced when dead.

Bubblewrap dies with the thread that started it, so a box belongs to one thread for its
whole life. At the level landlock a box ends when its control socket is closed, by whom or by what ever.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import subprocess
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from evolcoder.errors import SandboxError
from evolcoder.sandbox.inside import scratch
from evolcoder.sandbox.isolation import (
    BubblewrapMissingError,
    Interpreter,
    Level,
    ResourceLimits,
    box_command,
    make_folder,
)
from evolcoder.sandbox.outcomes import BoxFault
from evolcoder.sandbox.program import Program

NOT_UNDER_LANDLOCK = (
    "Programs that need an interpreter of their own can be isolated by bubblewrap only (evaluate.sandbox=bubblewrap)."
)
_WARM_SECONDS = 60.0
_END_SECONDS = 10.0
_MOST_PROCESSES_OF_NOBODY = 4096
_MOST_PROCESSES_OF_A_USER = 1 << 20
"""Where ids are shared, the limit counts what others run too; it is a backstop, and each program's threads are watched."""


@dataclass(frozen=True)
class BoxSettings:
    """How programs are run. ``packages`` are importable packages of this environment that programs may import; ``interpreter``
    is another Python for them, with all of its packages, at the levels bubblewrap and none.
    """

    level: Level = "bubblewrap"
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    packages: tuple[str, ...] = ()
    interpreter: Interpreter | None = None


class Sandbox(contextlib.AbstractContextManager["Sandbox"]):
    """Runs one program at a time. Use it from one thread, as a context manager.

    Raises:
        SandboxError: the level cannot be had on this machine.
    """

    def __init__(self, settings: BoxSettings) -> None:
        self.settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._folder: Path | None = None
        self._start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, source: str) -> Program:
        """A fresh process that has run the program's top level. The caller closes it.

        Raises:
            ProgramRaised, ProgramFault: the program's own doing; it is closed.
            BoxFault: no process could be had, also not from a new box.
        """
        program = self.prepare()
        try:
            program.load(source)
        except BaseException:
            program.close()
            raise
        return program

    def prepare(self, limits: ResourceLimits | None = None) -> Program:
        """A fresh process that waits for its source; from a new box when the old one died.

        Args:
            limits: for this program alone; the box's own when None.

        Raises:
            BoxFault: no process could be had, also not from a new box.
        """
        limits = limits or self.settings.limits
        try:
            return self._order(limits)
        except (OSError, BoxFault):
            try:
                self.close()
                self._start()
                return self._order(limits)
            except (OSError, SandboxError) as error:
                raise BoxFault(f"no box could be started in place of a dead one: {error}") from error

    def close(self) -> None:
        """End the box with all that runs in it.

        Raises:
            SandboxError: files of its programs are left on disk.
        """
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            if self._folder is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_END_SECONDS)  # it ends its programs and clears up
            self._process.kill()
            self._process.wait(_END_SECONDS)
            self._process = None
        if self._folder is not None:
            folder, self._folder = self._folder, None
            try:
                scratch.remove(str(folder))
            except OSError as error:
                raise SandboxError(f"What programs left in {folder} cannot be removed ({error.strerror}); remove it.") from None

    def _order(self, limits: ResourceLimits) -> Program:
        if self._control is None:
            raise BoxFault("the box is closed")
        processes = limits.threads
        if self.settings.level == "landlock":
            processes = _MOST_PROCESSES_OF_NOBODY if os.getuid() == 0 else _MOST_PROCESSES_OF_A_USER
        order = {
            "memory_bytes": limits.memory_bytes,
            "cpu_seconds": math.ceil(limits.task_cpu_seconds) + 2,
            "tmp_bytes": limits.tmp_bytes,
            "threads": limits.threads,
            "processes": processes,
            "reply_bytes": limits.reply_bytes,
        }
        # A stream for the program's data; whole messages for the end, which the supervisor tells and a program never holds.
        channel, inner_channel = socket.socketpair()
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)  # before the process can send
        status, inner_status = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with inner_channel, inner_status:
                socket.send_fds(self._control, [json.dumps(order).encode()], [inner_channel.fileno(), inner_status.fileno()])
        except OSError:
            channel.close()
            status.close()
            raise
        return Program(channel, status, limits, isolated=self.settings.level != "none")

    def _start(self) -> None:
        settings = self.settings
        self._control, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(_WARM_SECONDS)
        with contextlib.ExitStack() as undo, inner, tempfile.TemporaryFile() as complaints:
            undo.callback(self.close)
            try:
                if settings.level == "landlock":
                    if settings.interpreter is not None:
                        raise SandboxError(NOT_UNDER_LANDLOCK)
                    self._folder = make_folder(settings.packages)
                command, environment = box_command(
                    settings.level, settings.packages, inner.fileno(), self._folder, settings.interpreter
                )
            except BubblewrapMissingError as error:
                raise SandboxError(f"{error.message} {_instead(settings)}") from None
            except OSError as error:
                raise SandboxError(f"No folder for model-written programs can be made ({error}).") from None
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                env=environment,
                pass_fds=(inner.fileno(),),
            )
            inner.close()  # or its end would not be seen here when the worker dies
            warm = b""
            with contextlib.suppress(OSError):
                warm = self._control.recv(16)
            if warm != b"warm":
                raise SandboxError(_refusal(settings, complaints))
            # Signal 0 only asks whether one may: better to learn it here than when a program must be ended.
            try:
                self._process.send_signal(0)
            except PermissionError:
                raise SandboxError("Programs that run as nobody could not be ended here: root lacks CAP_KILL.") from None
            undo.pop_all()


def _refusal(settings: BoxSettings, complaints: IO[bytes]) -> str:
    complaints.seek(0)
    said = " ".join(complaints.read(2000).decode("utf-8", "replace").split())[-300:] or "it did not answer"
    if settings.level == "none":
        return f"The process that runs model-written programs could not start ({said})."
    if settings.level == "landlock":
        return (
            f"Landlock cannot isolate model-written programs here ({said}); use evaluate.sandbox=bubblewrap where user "
            "namespaces are allowed, or isolate nothing with evaluate.sandbox=none."
        )
    return (
        f"Model-written programs cannot be isolated here ({said}); allow user namespaces on this machine "
        f"(in a container: run it with them, or as root with CAP_SYS_ADMIN). {_instead(settings)}"
    )


def _instead(settings: BoxSettings) -> str:
    """What to do without bubblewrap; Landlock is tried before it is named."""
    try:
        with Sandbox(replace(settings, level="landlock")) as box, box.prepare():
            return "Or use evaluate.sandbox=landlock, which holds here and needs none; evaluate.sandbox=none isolates nothing."
    except (SandboxError, BoxFault, OSError):
        return "Or isolate nothing, with evaluate.sandbox=none; Landlock does not hold here either."
