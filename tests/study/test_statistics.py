from __future__ import annotations

import random
from itertools import product
from math import comb, sqrt
from statistics import fmean, variance

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolcoder.study.statistics import (
    difference_interval,
    holm,
    mean_difference,
    paired_differences,
    problems_needed,
    samples_needed,
    sign_flip_p_value,
    student_p_value,
    student_quantile,
    variance_parts,
)

SHARES = st.sampled_from([-1.0, -2 / 3, -1 / 3, 0.0, 1 / 3, 0.5, 0.2, 1.0])


def test_only_problems_that_both_have_are_compared() -> None:
    assert paired_differences({"b": 0.5, "a": True, "x": 1}, {"a": False, "b": 1.0, "y": 0}) == [-1.0, 0.5]


@settings(deadline=None, max_examples=60)
@given(st.lists(SHARES, max_size=9))
def test_sign_flips_against_all_assignments_of_signs(differences: list[float]) -> None:
    sums = [sum(sign * value for sign, value in zip(signs, differences, strict=True)) for signs in _signs(len(differences))]
    seen = sum(differences)
    above = sum(value >= seen - 1e-9 for value in sums) / len(sums)
    as_far = sum(abs(value) >= abs(seen) - 1e-9 for value in sums) / len(sums)
    assert sign_flip_p_value(differences, two_sided=False) == pytest.approx(above)
    assert sign_flip_p_value(differences) == pytest.approx(as_far)


def _signs(count: int) -> list[tuple[int, ...]]:
    return list(product((-1, 1), repeat=count))


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 5))
def test_one_sample_a_problem_is_mcnemars_exact_test(gained: int, lost: int, same: int) -> None:
    differences = [1.0] * gained + [-1.0] * lost + [0.0] * same
    tail = sum(comb(gained + lost, k) for k in range(gained, gained + lost + 1)) / 2 ** (gained + lost)
    both = 2 * sum(comb(gained + lost, k) for k in range(min(gained, lost) + 1)) / 2 ** (gained + lost)
    assert sign_flip_p_value(differences, two_sided=False) == pytest.approx(tail)
    assert sign_flip_p_value(differences) == pytest.approx(min(1.0, both))


def test_shares_without_a_small_common_denominator_are_rounded() -> None:
    assert sign_flip_p_value([0.123456789, 0.654321, 1 / 997, 1 / 991]) == 2 / 2**4


def test_an_interval_against_bonett_and_price() -> None:
    """Their formula, written as they write it: 36 gained and 24 lost of 400."""
    n, gained, lost = 400, 36, 24
    one, other = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = 1.959963984540054 * sqrt((one + other - (one - other) ** 2) / (n + 2))
    low, high = difference_interval([1.0] * gained + [-1.0] * lost + [0.0] * (n - gained - lost))
    assert (low, high) == pytest.approx((one - other - half, one - other + half))
    assert difference_interval([1.0])[1] == 1.0


@pytest.mark.parametrize(("samples", "widest"), [(1, 0.975), (5, 0.98)])
def test_the_interval_holds_the_true_difference_as_often_as_it_says(samples: int, widest: float) -> None:
    draw = random.Random(0)
    problems = [(draw.betavariate(0.3, 0.5), draw.betavariate(0.4, 0.5)) for _ in range(5000)]
    truth = fmean(second - first for first, second in problems)
    held = 0
    for _ in range(600):
        found = []
        for first, second in draw.choices(problems, k=150):
            passed = (sum(draw.random() < skill for _ in range(samples)) for skill in (second, first))
            found.append((next(passed) - next(passed)) / samples)
        low, high = difference_interval(found)
        held += low <= truth <= high
    assert 0.93 <= held / 600 <= widest


def test_how_many_problems_against_connor() -> None:
    """(1.96 + 0.84)^2 x the variance of the differences / difference^2, for 10 of 100 gained; one-sided 1.645."""
    differences = [1.0] * 10 + [0.0] * 90
    assert problems_needed(differences) == 72
    assert problems_needed(differences, two_sided=False) == 57
    assert problems_needed(differences, level=0.1, two_sided=False) == 41  # (1.2816 + 0.8416)^2 = 4.508
    for nothing in ([], [1.0], [1.0, -1.0], [0.1, 0.2, -0.3]):
        assert problems_needed(nothing) is None


def test_so_many_problems_show_it_four_times_of_five() -> None:
    draw = random.Random(1)
    kinds = [1.0] * 15 + [-1.0] * 7 + [0.0] * 78  # of the problems there are
    needed = problems_needed(kinds)
    assert needed is not None
    shown = sum(sign_flip_p_value(draw.choices(kinds, k=needed)) <= 0.05 for _ in range(300))
    assert 0.72 <= shown / 300 <= 0.87


def test_variances_within_and_between_problems_are_told_apart() -> None:
    draw = random.Random(2)
    samples, first, second = 8, {}, {}
    for number in range(4000):
        skill = draw.betavariate(2, 2)
        other = min(1.0, max(0.0, skill + draw.gauss(0.02, 0.1)))
        for rates, chance in ((first, skill), (second, other)):
            rates[str(number)] = sum(draw.random() < chance for _ in range(samples)) / samples
    between, within = variance_parts(first, second, samples)
    # E[p(1-p)] of Beta(2, 2) is 0.2; the second model's is a little less.
    assert within == pytest.approx(2 * 0.2 / samples, rel=0.05)
    assert between == pytest.approx(0.1**2, rel=0.25)
    assert between + within == pytest.approx(variance(paired_differences(first, second)))


def test_how_many_samples_would_do_and_when_none_would() -> None:
    half, more = {str(n): 0.5 for n in range(40)}, {str(n): 0.75 for n in range(40)}
    assert variance_parts(half, more, 4) == (0.0, pytest.approx((0.25 + 0.1875) / 3))
    assert samples_needed(half, more, 4) == 2  # (1.96 + 0.84)^2 x 4 x 0.1458 / (40 x 0.0625) = 1.83
    solved = {str(n): 0.0 for n in range(40)}
    some = {str(n): float(n < 2) for n in range(40)}
    assert samples_needed(solved, some, 4) is None  # the problems differ, not the samples
    assert samples_needed(solved, solved, 4) is None
    assert samples_needed(half, more, 1) is samples_needed({"0": 0.5}, {"0": 0.75}, 4) is None  # too few to tell


def test_a_mean_of_equal_sums_is_nothing() -> None:
    assert mean_difference([0.1, 0.2, -0.3]) == 0.0
    assert str(mean_difference([-0.0])) == "0.0"


def test_several_comparisons_are_corrected_for_their_number() -> None:
    """Holm's own steps: the smallest times 3, the next times 2, none below one before it, none above 1."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_a_correction_never_lowers_a_p_value_or_changes_their_order(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(before <= after <= 1 for before, after in zip(p_values, corrected, strict=True))
    by_value = sorted(range(len(p_values)), key=lambda place: p_values[place])
    assert [corrected[place] for place in by_value] == sorted(corrected)


@pytest.mark.parametrize(
    ("t", "degrees", "p_value"),
    [
        (2.5, 3.7, 0.07182202291182678),
        (-0.4, 1, 0.7577621168183132),
        (4, 163, 9.58762242771994e-05),
        (1.2, 499.5, 0.23070817970149715),
        (30, 2, 0.001109262681959659),
    ],
)
def test_students_t_against_scipy(t: float, degrees: float, p_value: float) -> None:
    """As ``2 * scipy.stats.t.sf(abs(t), degrees)`` of scipy 1.17 has it."""
    assert student_p_value(t, degrees) == pytest.approx(p_value, abs=1e-10)


def test_students_quantiles_against_the_tables() -> None:
    assert [round(student_quantile(0.95, degrees), 3) for degrees in (1, 2, 10, 120)] == [12.706, 4.303, 2.228, 1.980]
    assert round(student_quantile(0.99, 5), 3) == 4.032
    assert student_quantile(0.95, 1.3) == pytest.approx(7.500529325562029)  # scipy.stats.t.ppf


def test_sign_flips_and_mcnemar_against_scipy() -> None:
    """As ``scipy.stats.permutation_test(..., permutation_type="samples")`` and ``binomtest`` have it."""
    differences = [0.2, 0.4, -0.1, 0.3, 0.3, -0.2, 0.6]
    assert sign_flip_p_value(differences, two_sided=False) == 0.0625
    assert sign_flip_p_value(differences) == 0.125
    assert sign_flip_p_value([1.0] * 43 + [-1.0] * 27) == pytest.approx(0.07223792719176257)
