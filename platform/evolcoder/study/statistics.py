"""Tests, intervals and sizes for the differences of pass rates on the same problems. Pure.

A difference is, of one problem, the share of samples that one model passed less the share that another passed: -1, 0 or 1
where there is one sample. Pass rates of one model and their intervals are those of ``evaluate/scoring.py``; several seeds
are the matter of ``seeds.py``. Nothing here reads a file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import accumulate
from statistics import NormalDist, fmean, pvariance, variance

import numpy as np

_FINEST_SHARE = 1000
"""Shares of more samples than this, and mixtures that have no smaller common denominator, are rounded to its multiples."""

_POWER = 0.8
_NORMAL = NormalDist()
_PLACES, _WEIGHTS = np.polynomial.legendre.leggauss(96)
"""Of Gauss and Legendre's rule, in [-1, 1]."""


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


def difference_interval(differences: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean difference over problems like these, in [-1, 1].

    Bonett and Price 2012 ("Adjusted Wald confidence interval for a difference of binomial proportions based on paired data",
    J. Educ. Behav. Stat. 37): the normal interval after two problems are added, one gained and one lost. It is theirs for one
    sample a problem; for shares of several the same two are added, which makes it a little wider than need be.
    """
    added = [*differences, 1.0, -1.0]
    mean = fmean(added)
    half = _NORMAL.inv_cdf(0.975) * math.sqrt(pvariance(added, mean) / len(added))
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


def variance_parts(first: Mapping[str, float], second: Mapping[str, float], samples: int) -> tuple[float, float]:
    """The variance of one problem's difference in two parts: between the problems' true differences, and what the samples add.

    The second is estimated by ``share (1 - share) / (samples - 1)`` of each model, which is unbiased; the first is the rest.
    """
    shared = first.keys() & second.keys()
    within = fmean(sum(rate * (1 - rate) for rate in (first[task], second[task])) / (samples - 1) for task in shared)
    return max(0.0, variance(paired_differences(first, second)) - within), within


def samples_needed(first: Mapping[str, float], second: Mapping[str, float], samples: int) -> int | None:
    """How many samples of each problem from each of the two models would show their difference at 0.05, four times of five.

    The variance of a mean difference over n problems with K samples is ``(between + within_of_one / K) / n`` (Miller 2024,
    "Adding error bars to evals", section 5).

    Args:
        samples: of each problem, as there are. One cannot tell the two parts of the variance apart.

    Returns:
        None where no number of samples would show it, only more problems; and with one sample, or one problem, which do not
        tell.
    """
    differences = paired_differences(first, second)
    if samples < 2 or len(differences) < 2 or not (mean := mean_difference(differences)):
        return None
    between, within = variance_parts(first, second, samples)
    left = len(differences) * mean**2 / _squared_effect(0.05, True) - between
    return max(1, math.ceil(samples * within / left)) if left > 0 else None


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number by Holm's step-down method (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    steps = (min(1.0, (len(order) - rank) * p_values[place]) for rank, place in enumerate(order))
    return [corrected for _, corrected in sorted(zip(order, accumulate(steps, max), strict=True))]


def student_p_value(t: float, degrees: float) -> float:
    """Two-sided, of Student's t with so many degrees of freedom, whole or not, at least 1.

    The chance of ``|T| <= t`` is an integral of ``cos^(degrees - 1)`` from 0 to ``atan(t / sqrt(degrees))`` (Abramowitz and
    Stegun 1964, 26.7.1, with ``tan`` put for the variable), taken by Gauss and Legendre's rule: right to 10 digits.
    """
    end = math.atan(abs(t) / math.sqrt(degrees))
    constant = 2 * math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(math.pi)
    inside = constant * end / 2 * float(_WEIGHTS @ np.cos((_PLACES + 1) * end / 2) ** (degrees - 1))
    return min(1.0, max(0.0, 1 - inside))


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
    return (_NORMAL.inv_cdf(1 - level / 2 if two_sided else 1 - level) + _NORMAL.inv_cdf(_POWER)) ** 2
