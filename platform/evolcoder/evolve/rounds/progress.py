"""What the workers of a round report on the board: what they have done so far, and why the run must stop. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from evolcoder.errors import EvolcoderError


@dataclass(slots=True)
class RoundProgress:
    """Of one worker, or of all. ``stop`` is the first reason there was."""

    totals: Counter[str] = field(default_factory=Counter)
    stop: EvolcoderError | None = None
    warnings: set[str] = field(default_factory=set)


def together(reports: Iterable[RoundProgress]) -> RoundProgress:
    """What all workers have done; a warning is one, however many of them say it."""
    whole = RoundProgress()
    for report in reports:
        whole.totals.update(report.totals)
        whole.stop = whole.stop or report.stop
        whole.warnings |= report.warnings
    return whole
