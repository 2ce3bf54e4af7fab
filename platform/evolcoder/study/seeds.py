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
from evolcoder.study.statistics import student_p_value, student_quantile

Rates = Mapping[str, float]
"""By problem id, the share of samples that passed, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """pass@1 over problems and seeds. ``by_seed`` is that of each seed, in the order given.

    ``seed_deviation`` is the standard deviation of pass@1 that the seed alone makes, without what the choice of problems does;
    0 where the seeds differ no more than chance would have it. ``interval`` is that of 95 %.
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
    squares sum to its square: the first falls with more problems, the second with more seeds.
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


@dataclass(frozen=True, slots=True)
class _MeanSquares:
    """Of one model: what is left of problems x seeds, for the seeds and for the rest, with the degrees of freedom."""

    seeds: float
    rest: float
    seed_degrees: int


def over_seeds(rates: Sequence[Rates]) -> SeedSpread:
    """The pass@1 of models that differ in the seed of their training alone.

    Args:
        rates: of each seed. The problems that all of them have are compared.

    Raises:
        DataError: fewer than two seeds, or fewer than two problems that all have.
    """
    if len(rates) < 2:
        raise DataError("A spread over seeds takes at least two seeds; add some to study.seeds.")
    (table,) = _tables([rates])
    problems, seeds = table.shape
    squares = _mean_squares([table])
    by_problem = float(seeds * table.mean(axis=1).var(ddof=1)) / (problems * seeds)
    error, degrees, seed_part = _combined(by_problem, squares, problems, 1 / seeds)
    mean = float(table.mean())
    half = student_quantile(0.95, degrees) * error
    return SeedSpread(
        problems=problems,
        by_seed=tuple(table.mean(axis=0).tolist()),
        mean=mean,
        seed_deviation=math.sqrt(seed_part * seeds),
        standard_error=error,
        interval=(max(0.0, mean - half), min(1.0, mean + half)),
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
    problems = len(tables[0])
    differences = tables[1].mean(axis=1) - tables[0].mean(axis=1)
    by_problem = float(differences.var(ddof=1)) / problems
    each = 1 / len(first) + 1 / len(second)
    error, degrees, seed_part = _combined(by_problem, _mean_squares(tables), problems, each)
    difference = round(float(differences.mean()), 12) + 0.0
    half = student_quantile(0.95, degrees) * error
    return SeedDifference(
        problems=problems,
        seeds=(len(first), len(second)),
        difference=difference,
        interval=(max(-1.0, difference - half), min(1.0, difference + half)),
        p_value=student_p_value(difference / error, degrees) if error else float(difference == 0),
        standard_error=error,
        problem_error=math.sqrt(by_problem),
        seed_error=math.sqrt(seed_part),
        seed_deviation=math.sqrt(seed_part / each),
    )


def _tables(models: Sequence[Sequence[Rates]]) -> list[NDArray[np.float64]]:
    """Of each model the rates, problems x seeds."""
    shared = sorted(set.intersection(*(set(rates) for seeds in models for rates in seeds)))
    if len(shared) < 2:
        raise DataError("The seeds have fewer than two problems in common; score them on the same benchmark.")
    return [np.array([[float(rates[task]) for rates in seeds] for task in shared]) for seeds in models]


def _mean_squares(tables: Sequence[NDArray[np.float64]]) -> _MeanSquares:
    """Pooled over the models."""
    problems = len(tables[0])
    degrees = sum(table.shape[1] - 1 for table in tables)
    seeds = rest = 0.0
    for table in tables:
        by_seed = table.mean(axis=0) - table.mean()
        seeds += problems * float((by_seed**2).sum())
        rest += float(((table - table.mean(axis=1)[:, None] - by_seed) ** 2).sum())
    return _MeanSquares(seeds / degrees, rest / (degrees * (problems - 1)), degrees)


def _combined(by_problem: float, squares: _MeanSquares, problems: int, each: float) -> tuple[float, float, float]:
    """Standard error, degrees of freedom, and the seeds' part of the error's square.

    Args:
        by_problem: the part of the problems, with ``problems - 1`` degrees of freedom.
        each: how much of a seed's variance there is: 1 / seeds, of two models the sum of both.
    """
    seeds, rest = squares.seeds / problems * each, squares.rest / problems * each
    part = max(0.0, seeds - rest)
    total = by_problem + part
    if not part:
        return math.sqrt(total), problems - 1.0, 0.0
    rest_degrees = squares.seed_degrees * (problems - 1)
    spread = by_problem**2 / (problems - 1) + seeds**2 / squares.seed_degrees + rest**2 / rest_degrees
    return math.sqrt(total), max(1.0, total**2 / spread), part
