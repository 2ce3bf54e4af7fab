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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the worker is a script: its neighbours are found by their bare names
    import evolcoder.sandbox.inside.confine as confine
    import evolcoder.sandbox.inside.landlock as landlock
    import evolcoder.sandbox.inside.scratch as scratch
else:
    import confine
    import landlock
    import scratch

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
        confine.become_subreaper()  # what a killed supervisor leaves is reaped here, where its folder can be removed
        readable, hidden, listable, devices = (
            [Path(text) for text in plan[key]] for key in ("readable", "hidden", "listable", "devices")
        )
        # Root's own Python may lie where nobody may not look: then one capability is kept, and Landlock says what is read.
        closed = [path for path in readable if not path.is_relative_to(self._base) and not _open_to_all(path)]
        self._capabilities = _SEARCH_CAPABILITY if closed and os.getuid() == 0 else 0
        try:
            confine.become_nobody(keep_search=self._capabilities != 0)
        except OSError as error:
            lacking = "CAP_SETUID, CAP_SETGID" + (f", or CAP_DAC_READ_SEARCH to read {closed[0]}" if closed else "")
            raise OSError(error.errno, f"root lacks {lacking}, so it cannot run programs as nobody") from None
        os.chdir(self._base)
        # A cleaner removes the box's folder should this process be killed, also together with the trusted side. The end of
        # the pipe is read when this process and all supervisors are gone: the kernel then closes the last other end.
        reading, self._not_ended = os.pipe()
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
        self._rulesets = landlock.Rulesets(plan["abi"], readable, hidden, listable, devices, Path(self._base))

    def begin(self) -> None:
        """In the supervisor, before it forks the program's process."""
        # Not for bubblewrap's: there the process namespace ends all that is in it.
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
        """In the program's process, last of all: the filter refuses what the steps before it need."""
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
