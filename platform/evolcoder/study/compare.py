"""Two models on the same problems: what flipped, and whether that is more than chance. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb


@dataclass(frozen=True, slots=True)
class Comparison:
    """``gained`` and ``lost`` are problems that only the second, or only the first model solves."""

    shared: int
    gained: list[str]
    lost: list[str]
    p_value: float


def compare(first: Mapping[str, bool], second: Mapping[str, bool]) -> Comparison:
    """Compare pass or fail by problem, over the problems that both have.

    The p-value is McNemar's exact test, two-sided: under no difference each flip goes either way with probability 1/2.
    """
    shared = sorted(first.keys() & second.keys())
    gained = [task for task in shared if second[task] and not first[task]]
    lost = [task for task in shared if first[task] and not second[task]]
    return Comparison(len(shared), gained, lost, _two_sided_binomial(len(gained), len(lost)))


def _two_sided_binomial(successes: int, failures: int) -> float:
    flips = successes + failures
    tail = sum(comb(flips, k) for k in range(min(successes, failures) + 1))
    return min(1.0, 2 * (tail / float(2**flips)))
