"""Where the workers of a round report: what they have done so far, and why the run must stop."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from evolcoder.errors import EvolcoderError


@dataclass(frozen=True, slots=True)
class RoundProgress:
    """What the board knows."""

    totals: Counter[str]
    stop: EvolcoderError | None
    warnings: set[str]


class Board:
    """To be started with ``ray.remote``: running totals of all workers, and why the run must stop, if it must.

    One that is started again soon knows the totals: each worker tells all that it counted so far. A reason to stop is told
    once; without it, the driver still finds the rows that were not asked.
    """

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}
        self._stop: EvolcoderError | None = None
        self._warnings: set[str] = set()

    def count(self, worker: str, counts: Counter[str]) -> None:
        """All that a worker counted so far."""
        self._counts[worker] = counts

    def stop(self, error: EvolcoderError) -> None:
        """The first reason stands."""
        self._stop = self._stop or error

    def warn(self, sentence: str) -> None:
        """Said once, however many workers say it."""
        self._warnings.add(sentence)

    def read(self) -> RoundProgress:
        totals: Counter[str] = sum(self._counts.values(), Counter())
        return RoundProgress(totals, self._stop, self._warnings)
