"""Whether a level of isolation holds on this machine: it is tried, not guessed."""

from __future__ import annotations

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
