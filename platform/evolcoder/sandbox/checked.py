"""Boxes that are tried and not trusted: whether a level of isolation holds on this machine, and checked boxes kept warm."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from evolcoder.errors import SandboxError
from evolcoder.sandbox.box import BoxSettings, Sandbox
from evolcoder.sandbox.inside import landlock
from evolcoder.sandbox.isolation import Level
from evolcoder.sandbox.outcomes import BoxFault, ProgramFault, ProgramRaised

_CANARY = (Path(__file__).parent / "inside" / "canary.py").read_text("utf-8")
_HOLDS: dict[Level, str] = {
    "bubblewrap": "own namespaces, no network, no files but a private /tmp, no new processes",
    "landlock": "the kernel's Landlock (version {abi}), no network, no files but an own folder, no new processes",
    "none": "programs run with limits, but nothing keeps them from your files and network",
}
_MOST_WARM = 2
"""A warm box of DS-1000's holds libraries such as TensorFlow in memory: those of the settings used last are kept, no more."""


class SandboxReport(NamedTuple):
    """Whether a level holds on this machine; ``detail`` is one sentence for people."""

    works: bool
    detail: str


def self_check(box: Sandbox) -> None:
    """Run the canary, each of its functions in a process of its own, as a new box's first programs.

    Raises:
        SandboxError: results come back wrong, or a program could do what it must not.
    """
    try:
        # A wrong answer must come back as it is, too: a box that always said what is right would pass every program.
        for name, expected in (("double", 42), ("double_wrongly", 43)):
            with box.start(_CANARY) as program:
                got = program.function(name)(21)
                if got != expected:
                    raise SandboxError(
                        f"The sandbox returned {got!r} where {expected} was right; no score from it can be trusted."
                    )
        if box.settings.level == "none":
            return
        with box.start(_CANARY) as program:
            allowed = program.function("allowed")(box.settings.level == "landlock")
    except (ProgramFault, ProgramRaised, BoxFault) as fault:
        raise SandboxError(f"The sandbox does not run a simple program here ({fault}).") from None
    if allowed != []:
        raise SandboxError(f"The sandbox does not hold here: a program could {' and '.join(map(str, allowed))}.")


def probe(level: Level = "bubblewrap") -> SandboxReport:
    """Start a box of this level and check it; never raises."""
    try:
        with Sandbox(BoxSettings(level)) as box:
            self_check(box)
    except SandboxError as error:
        return SandboxReport(False, error.message)
    return SandboxReport(True, f"{level}: {_HOLDS[level].format(abi=landlock.version())}")


class WarmBoxes(AbstractContextManager["WarmBoxes"]):
    """For one thread, which starts and uses them all. Use it as a context manager; leaving ends all boxes.

    Args:
        settings: of the box that is started at once.

    Raises:
        SandboxError: the level cannot be had on this machine.
    """

    def __init__(self, settings: BoxSettings) -> None:
        self._boxes: dict[BoxSettings, Sandbox] = {}  # the one used last is at the end
        self.get(settings)

    def __exit__(self, *_: object) -> None:
        while self._boxes:
            self._boxes.popitem()[1].close()

    def get(self, settings: BoxSettings) -> Sandbox:
        """The box of these settings, which has passed its self-check. It may end the one that was unused for longest.

        Raises:
            SandboxError: it cannot be started, or does not hold.
        """
        box = self._boxes.pop(settings, None)
        if box is None:
            if len(self._boxes) >= _MOST_WARM:
                self._boxes.pop(next(iter(self._boxes))).close()
            box = Sandbox(settings)
            try:
                self_check(box)
            except BaseException:
                box.close()
                raise
        self._boxes[settings] = box
        return box
