"""Models that were trained under several seeds: how much the seed does, and differences that hold over seeds too. Pure.

Problems and seeds are crossed: each seed's model answers each problem. A pass rate is a mean, plus what the problem does, plus
what the seed does, plus what both do together (and the samples); the parts are told apart by the analysis of variance of a
two-way layout (Scheffe 1959, "The analysis of variance", chapter 7), and the degrees of freedom of their sum are those of
Satterthwaite 1946 ("An approximate distribution of estimates of variance components", Biometrics Bulletin 2). Both problems
and seeds are drawn from many, as in Clark 1973 ("The language-as-fixed-effect fallacy", J. Verbal Learn. 12): what
is said holds for other problems and other seeds. Seeds alone, or problems alone, would make the intervals too narrow.

The simulated intervals hold 92 to 97 times of 100, the least with two seeds that do far more than the problems do. One
number is no spread: what one training under one seed says of others is said nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evolcoder.errors import DataError
from evolcoder.evaluate.scoring import wilson_interval
from evolcoder.study.statistics import (
    difference_interval,
    mean_difference,
    sign_flip_p_value,
    student_p_value,
    student_quantile,
)

Rates = Mapping[str, float]
"""By problem id, the share of samples that passed, in [0, 1]."""
Table = NDArray[np.float64]
_NOTHING = 1e-12
"""A standard error of rounding alone."""


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """pass@1 over problems and seeds. ``by_seed`` is that of each seed, in the order given.

    ``seed_deviation`` is the standard deviation of pass@1 that the seed alone makes, without what the choice of problems does;
    0 where the seeds differ no more than chance would have it. ``interval`` is that of 95 %; where all problems and seeds are
    alike, so that there is no spread to see, Wilson's over the problems.
    """

    problems: int
    by_seed: tuple[float, ...]
    mean: float
    seed_deviation: float
    standard_error: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class SeedDifference:
    """The second model's pass@1 less the first's, over problems and seeds; ``seeds`` is how many each has.

    ``p_value`` is two-sided, by Student's t. ``problem_error`` and ``seed_error`` are parts of ``standard_error``, whose
    squares sum to its square: the first falls with more problems, the second with more seeds. Where all problems and seeds
    differ alike, there is no spread to see: interval and test are then those of one seed.
    """

    problems: int
    seeds: tuple[int, int]
    difference: float
    interval: tuple[float, float]
    p_value: float
    standard_error: float
    problem_error: float
    seed_error: float
    seed_deviation: float


def over_seeds(rates: Sequence[Rates]) -> SeedSpread:
    """The pass@1 of models that differ in the seed of their training alone.

    Args:
        rates: of each seed. The problems that all of them have are compared.

    Raises:
        DataError: fewer than two seeds, or fewer than two problems that all have.
    """
    if len(rates) < 2:
        raise DataError("A spread over seeds takes at least two seeds; add some to study.seeds.")
    (table,) = tables = _tables([rates])
    problems, seeds = table.shape
    problem_part, seed_part, degrees = _error(tables, table.mean(axis=1), 1 / seeds)
    error = math.sqrt(problem_part + seed_part)
    mean = float(table.mean())
    half = student_quantile(0.95, degrees) * error
    interval = (max(0.0, mean - half), min(1.0, mean + half))
    return SeedSpread(
        problems=problems,
        by_seed=tuple(table.mean(axis=0).tolist()),
        mean=mean,
        seed_deviation=math.sqrt(seed_part * seeds),
        standard_error=error,
        interval=interval if error > _NOTHING else wilson_interval(mean * problems, problems),
    )


def compare_over_seeds(first: Sequence[Rates], second: Sequence[Rates]) -> SeedDifference:
    """The difference of two models that were each trained under several seeds, on the problems that all have.

    ``variance of the problems' mean differences / problems + seed variance x (1 / seeds of the first + 1 / of the second)``.
    The seed variance is pooled over both, so that one of them may have a single seed. Equal seeds of the two are not paired:
    on other rows a seed means another order.

    Raises:
        DataError: neither has two seeds, or fewer than two problems are shared.
    """
    if not first or not second or len(first) + len(second) < 3:
        raise DataError("A difference over seeds takes at least two seeds of one of the models; add some to study.seeds.")
    tables = _tables([first, second])
    differences = tables[1].mean(axis=1) - tables[0].mean(axis=1)
    each = 1 / len(first) + 1 / len(second)
    problem_part, seed_part, degrees = _error(tables, differences, each)
    error = math.sqrt(problem_part + seed_part)
    difference = mean_difference(differences.tolist())
    if error > _NOTHING:
        half = student_quantile(0.95, degrees) * error
        interval = (max(-1.0, difference - half), min(1.0, difference + half))
        p_value = student_p_value(difference / error, degrees)
    else:
        interval, p_value = difference_interval(differences.tolist()), sign_flip_p_value(differences.tolist())
    return SeedDifference(
        problems=len(differences),
        seeds=(len(first), len(second)),
        difference=difference,
        interval=interval,
        p_value=p_value,
        standard_error=error,
        problem_error=math.sqrt(problem_part),
        seed_error=math.sqrt(seed_part),
        seed_deviation=math.sqrt(seed_part / each),
    )


def _tables(models: Sequence[Sequence[Rates]]) -> list[Table]:
    """Of each model the rates, problems x seeds."""
    shared = sorted(set.intersection(*(set(rates) for seeds in models for rates in seeds)))
    if len(shared) < 2:
        raise DataError("The seeds have fewer than two problems in common; score them on the same benchmark.")
    return [np.array([[float(rates[task]) for rates in seeds] for task in shared]) for seeds in models]


def _error(tables: Sequence[Table], by_problem: Table, each: float) -> tuple[float, float, float]:
    """Squared, the problems' part and the seeds' part of the standard error; and its degrees of freedom. The seeds' variance is
    pooled over the models.

    Args:
        by_problem: of each problem the mean, or difference of means, whose error it is.
        each: how much of a seed's variance there is: 1 / seeds, of two models the sum of both.
    """
    problems = len(by_problem)
    problem_part = float(by_problem.var(ddof=1)) / problems
    seed_degrees = sum(table.shape[1] - 1 for table in tables)
    rest_degrees = seed_degrees * (problems - 1)
    seeds = rest = 0.0
    for table in tables:
        by_seed = table.mean(axis=0) - table.mean()
        seeds += float((by_seed**2).sum()) / seed_degrees * each
        rest += float(((table - table.mean(axis=1)[:, None] - by_seed) ** 2).sum()) / rest_degrees / problems * each
    seed_part = max(0.0, seeds - rest)
    if not seed_part:
        return problem_part, 0.0, problems - 1.0
    spread = problem_part**2 / (problems - 1) + seeds**2 / seed_degrees + rest**2 / rest_degrees
    return problem_part, seed_part, max(1.0, (problem_part + seed_part) ** 2 / spread)
