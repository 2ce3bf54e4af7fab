"""Tests, intervals and sizes for the differences of pass rates on the same problems. Pure.

A difference is, of one problem, the share of samples that one model passed less the share that another passed: -1, 0 or 1
where there is one sample. Pass rates of one model and their intervals are those of ``evaluate/scoring.py``; several seeds
are the matter of ``seeds.py``. Nothing here reads a file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from statistics import NormalDist, fmean, pvariance, variance

import numpy as np
from numpy.typing import NDArray

from evolcoder.errors import DataError

_FINEST_SHARE = 1000
"""Shares of more samples than this, and mixtures that have no smaller common denominator, are rounded to its multiples."""

_POWER = 0.8


def paired_differences(first: Mapping[str, float], second: Mapping[str, float]) -> list[float]:
    """The second's pass rate less the first's on each problem that both have, in order of the problems' ids."""
    return [float(second[task]) - float(first[task]) for task in sorted(first.keys() & second.keys())]


def mean_difference(differences: Sequence[float]) -> float:
    """In [-1, 1]. Rounded to 12 digits: sums of tenths or thirds that are equal differ in their last bits."""
    return round(fmean(differences), 12) + 0.0


def sign_flip_p_value(differences: Sequence[float], *, two_sided: bool = True) -> float:
    """The exact p-value of the paired test of no difference: that each problem's difference has either sign.

    It is the share of all 2^n assignments of signs that have a sum as large as the one seen, or, two-sided, as far from 0
    (Fisher 1935, "The design of experiments", section 21). With one sample a problem this is McNemar's exact test: the flips
    are binomial with probability 1/2 (McNemar 1947). The distribution is computed, not drawn.

    Args:
        differences: of each problem, in [-1, 1]; multiples of a common share, as shares of samples are, up to rounding to
            1/1000. The rounded ones are as symmetric as the others, so the test holds its level for them too.
        two_sided: else the p-value is that of a sum so large, not so small.
    """
    shares = {value: Fraction(value).limit_denominator(_FINEST_SHARE) for value in {*differences} - {0.0}}
    scale = min(math.lcm(*(share.denominator for share in shares.values())), _FINEST_SHARE)
    whole = {value: round(share * scale) for value, share in shares.items()}
    steps = [whole[value] for value in differences if value]
    total, observed = sum(map(abs, steps)), sum(step for step in steps if step > 0)
    chances = np.zeros(total + 1)
    chances[0] = 1.0
    for step in map(abs, steps):
        chances[step:] += chances[: total + 1 - step].copy()
        chances /= 2
    if two_sided:
        observed = max(observed, total - observed)
    tail = math.fsum(chances[observed:].tolist())
    return min(1.0, 2 * tail if two_sided else tail)


def difference_interval(differences: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """The interval of the mean difference over problems like these, in [-1, 1].

    Bonett and Price 2012 ("Adjusted Wald confidence interval for a difference of binomial proportions based on paired data",
    J. Educ. Behav. Stat. 37): the normal interval after two problems are added, one gained and one lost. It is theirs for one
    sample a problem; for shares of several the same two are added, which makes it a little wider than need be.
    """
    added = [*differences, 1.0, -1.0]
    mean = fmean(added)
    half = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(pvariance(added, mean) / len(added))
    return max(-1.0, mean - half), min(1.0, mean + half)


def problems_needed(differences: Sequence[float], *, level: float = 0.05, two_sided: bool = True) -> int | None:
    """About how many problems of this kind would show a mean difference of this size at ``level``, four times of five.

    ``(z_level + z_power)^2 x variance of the differences / difference^2``; of pairs of 0 and 1 this is Connor 1987 ("Sample
    size for testing differences in proportions for the paired-sample design", Biometrics 43). None where there is no
    difference to show, or fewer than two problems to learn a variance from.
    """
    if len(differences) < 2 or not (mean := mean_difference(differences)):
        return None
    return math.ceil(_squared_effect(level, two_sided) * variance(differences, mean) / mean**2)


@dataclass(frozen=True, slots=True)
class SampleNeeds:
    """What would show a difference, and why: variances of one problem's difference.

    ``between`` is that of the problems' true differences; ``within`` what the samples, so many as there are, add to it.
    ``problems`` is how many problems it takes with as many samples; ``samples`` how many samples each of the two models needs
    on as many problems, None where no number of samples would do: only more problems would.
    """

    between: float
    within: float
    problems: int | None
    samples: int | None


def sample_needs(
    first: Mapping[str, float], second: Mapping[str, float], samples: int, *, level: float = 0.05, two_sided: bool = True
) -> SampleNeeds:
    """How many problems, or samples of each problem, would show the difference between two models, four times of five.

    The variance of a mean difference over n problems with K samples is ``(between + within_of_one / K) / n`` (Miller 2024,
    "Adding error bars to evals", section 5). ``within`` is estimated by ``share (1 - share) / (K - 1)`` of each model, which
    is unbiased, and ``between`` is what is left of the variance of the differences.

    Args:
        samples: of each problem, at least 2: one sample cannot tell the two variances apart.

    Raises:
        DataError: with fewer than 2 samples, or fewer than 2 problems that both have.
    """
    differences = paired_differences(first, second)
    if samples < 2 or len(differences) < 2:
        raise DataError("What samples would add can be told from at least 2 samples of each of at least 2 problems.")
    shared = first.keys() & second.keys()
    within = fmean(sum(rate * (1 - rate) for rate in (first[task], second[task])) / (samples - 1) for task in shared)
    between = max(0.0, variance(differences) - within)
    more = None
    if mean := mean_difference(differences):
        left = len(differences) * mean**2 / _squared_effect(level, two_sided) - between
        more = max(1, math.ceil(samples * within / left)) if left > 0 else None
    return SampleNeeds(between, within, problems_needed(differences, level=level, two_sided=two_sided), more)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number by Holm's step-down method (Holm 1979), in the order given."""
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def student_p_value(t: float, degrees: float) -> float:
    """Two-sided, of Student's t with so many degrees of freedom, whole or not, at least 1.

    The chance of ``|T| <= t`` is an integral of ``cos^(degrees - 1)`` from 0 to ``atan(t / sqrt(degrees))`` (Abramowitz and
    Stegun 1964, 26.7.1, with ``tan`` put for the variable), taken by Gauss and Legendre's rule: right to 10 digits.
    """
    end = math.atan(abs(t) / math.sqrt(degrees))
    constant = 2 * math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(math.pi)
    places, weights = _gauss_legendre()
    inside = constant * end / 2 * float(weights @ np.cos((places + 1) * end / 2) ** (degrees - 1))
    return min(1.0, max(0.0, 1 - inside))


@cache
def _gauss_legendre() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.polynomial.legendre.leggauss(96)


def student_quantile(level: float, degrees: float) -> float:
    """The t that ``|T|`` does not exceed with probability ``level``."""
    low, high = 0.0, 1.0
    while student_p_value(high, degrees) > 1 - level:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_p_value(middle, degrees) > 1 - level else (low, middle)
    return high


def _squared_effect(level: float, two_sided: bool) -> float:
    """Squared, the distance from no difference, in standard errors, at which a test at ``level`` has the power."""
    normal = NormalDist()
    return (normal.inv_cdf(1 - level / 2 if two_sided else 1 - level) + normal.inv_cdf(_POWER)) ** 2
