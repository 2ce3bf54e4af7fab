from __future__ import annotations

import random
from math import exp, sqrt
from statistics import fmean, variance

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolcoder.errors import DataError
from evolcoder.evaluate.scoring import wilson_interval
from evolcoder.study.seeds import compare_over_seeds, over_seeds
from evolcoder.study.statistics import difference_interval, student_quantile

Rates = dict[str, float]
# Four problems under three seeds of one model, and under two of another.
FIRST = [[0.5, 0.75, 0.25], [1.0, 1.0, 0.75], [0.0, 0.25, 0.0], [0.5, 0.25, 0.25]]
SECOND = [[0.75, 0.25], [1.0, 1.0], [0.5, 0.0], [0.75, 0.25]]


def by_seed(table: list[list[float]]) -> list[Rates]:
    return [{str(task): row[seed] for task, row in enumerate(table)} for seed in range(len(table[0]))]


def sums_of_squares(table: list[list[float]]) -> tuple[float, float]:
    """Of the seeds and of the rest, by the textbook's computing formulas."""
    problems, seeds = len(table), len(table[0])
    total = sum(map(sum, table)) ** 2 / (problems * seeds)
    rows = sum(sum(row) ** 2 for row in table) / seeds - total
    columns = sum(sum(column) ** 2 for column in zip(*table, strict=True)) / problems - total
    return columns, sum(value**2 for row in table for value in row) - total - rows - columns


def test_the_spread_of_one_model_against_the_analysis_of_variance() -> None:
    spread = over_seeds(by_seed(FIRST))
    columns, rest = sums_of_squares(FIRST)
    of_seeds, of_rest = columns / 2, rest / 6
    of_problems = 3 * variance([fmean(row) for row in FIRST])
    assert of_seeds > of_rest
    assert spread.by_seed == pytest.approx((0.5, 0.5625, 0.3125))
    assert spread.mean == pytest.approx(fmean(map(fmean, FIRST)))
    assert spread.seed_deviation == pytest.approx(sqrt((of_seeds - of_rest) / 4))
    error = (of_problems + of_seeds - of_rest) / 12
    assert spread.standard_error == pytest.approx(sqrt(error))
    degrees = error**2 / ((of_problems / 12) ** 2 / 3 + (of_seeds / 12) ** 2 / 2 + (of_rest / 12) ** 2 / 6)
    assert spread.interval[1] - spread.mean == pytest.approx(
        min(1 - spread.mean, student_quantile(0.95, degrees) * sqrt(error))
    )


def test_a_difference_of_two_models_against_the_analysis_of_variance() -> None:
    result = compare_over_seeds(by_seed(FIRST), by_seed(SECOND))
    (columns, rest), (more_columns, more_rest) = sums_of_squares(FIRST), sums_of_squares(SECOND)
    of_seeds, of_rest = (columns + more_columns) / 3, (rest + more_rest) / 9
    seed_variance = (of_seeds - of_rest) / 4
    differences = [fmean(second) - fmean(first) for first, second in zip(FIRST, SECOND, strict=True)]
    assert (result.problems, result.seeds) == (4, (3, 2))
    assert result.difference == pytest.approx(fmean(differences))
    assert result.problem_error**2 == pytest.approx(variance(differences) / 4)
    assert result.seed_error**2 == pytest.approx(seed_variance * (1 / 3 + 1 / 2))
    assert result.seed_deviation == pytest.approx(sqrt(seed_variance))
    assert result.standard_error**2 == pytest.approx(result.problem_error**2 + result.seed_error**2)


def test_problems_that_not_all_seeds_have_are_left_out() -> None:
    rates = by_seed(FIRST)
    rates[1]["more"] = 1.0
    assert over_seeds(rates) == over_seeds(by_seed(FIRST))


def test_one_model_may_have_a_single_seed() -> None:
    result = compare_over_seeds(by_seed(FIRST), by_seed(SECOND)[:1])
    columns, rest = sums_of_squares(FIRST)
    assert result.seed_error**2 == pytest.approx((columns / 2 - rest / 6) / 4 * (1 / 3 + 1))


def test_seeds_that_make_no_difference_have_no_spread() -> None:
    rates = [{str(n): float(n % 3 == 0) for n in range(30)}] * 3
    assert over_seeds(rates).seed_deviation == 0.0
    same = compare_over_seeds(rates, rates)
    assert (same.difference, same.p_value, same.standard_error) == (0.0, 1.0, 0.0)
    low, high = same.interval
    assert -0.2 < low < 0 < high < 0.2, "30 problems that are alike leave it open whether others are"


def test_a_few_problems_that_are_all_alike_tell_little() -> None:
    """No variance is seen in them, which is not that there is none: an interval is no point, and no p-value 0."""
    none, all_of_them = ([dict.fromkeys("abc", rate)] * 2 for rate in (0.0, 1.0))
    spread = over_seeds(all_of_them)
    assert (spread.mean, spread.interval) == (1.0, wilson_interval(3, 3))
    told = compare_over_seeds(none, all_of_them)
    assert (told.difference, told.p_value) == (1.0, 2 / 2**3)
    assert told.interval == difference_interval([1.0] * 3)
    thirds = [dict.fromkeys("abcdefg", 1 / 3)] * 3  # whose mean is not a third to the last bit
    low, high = over_seeds(thirds).interval
    assert low < 0.2 < 0.5 < high


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 1.0])] * 5), min_size=2, max_size=12))
def test_the_other_way_round_is_the_same(rows: list[tuple[float, ...]]) -> None:
    first, second = by_seed([list(row[:3]) for row in rows]), by_seed([list(row[3:]) for row in rows])
    there, back = compare_over_seeds(first, second), compare_over_seeds(second, first)
    assert there.difference == pytest.approx(-back.difference)
    assert there.p_value == pytest.approx(back.p_value, abs=1e-9)
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]))


def test_what_has_no_spread_is_one_sentence() -> None:
    one = by_seed(FIRST)[:1]
    with pytest.raises(DataError, match=r"A spread over seeds takes at least two seeds; add some to study\.seeds"):
        over_seeds(one)
    with pytest.raises(DataError, match=r"at least two seeds of one of the models; add some to study\.seeds"):
        compare_over_seeds(one, one)
    with pytest.raises(DataError, match="fewer than two problems in common"):
        over_seeds([{"a": 1.0, "b": 0.0}, {"b": 1.0, "c": 0.0}])


def test_the_seed_is_not_taken_for_a_difference() -> None:
    """Two models of one skill, three seeds each, the seed worth some 3 points: a test over problems alone is misled."""
    draw = random.Random(0)
    held = false = 0
    for _ in range(200):
        problems = [(draw.gauss(-0.5, 2.5), draw.gauss(0, 0.3)) for _ in range(80)]
        models = []
        for side in (0, 1):
            seeds = [draw.gauss(0, 0.25) for _ in range(3)]
            table = [
                [float(draw.random() < 1 / (1 + exp(-skill - side * own - seed))) for seed in seeds] for skill, own in problems
            ]
            models.append(by_seed(table))
        result = compare_over_seeds(*models)
        held += result.interval[0] <= 0 <= result.interval[1]
        false += abs(result.difference) > 1.96 * result.problem_error
        assert (result.p_value > 0.05) == (result.interval[0] <= 0 <= result.interval[1])
    assert 0.92 <= held / 200 <= 0.99
    assert false / 200 > 0.08
