from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.errors import IncompleteError
from evolcoder.evaluate.benchmarks.base import Problem
from evolcoder.evaluate.scoring import (
    bootstrap_interval,
    pass_at_k,
    passes_by_task,
    score_groups,
    score_tasks,
    wilson_interval,
)
from evolcoder.records import Verdict, VerdictStatus


@given(st.integers(1, 9), st.integers(0, 9), st.integers(1, 9))
def test_pass_at_k_is_the_share_of_draws_with_a_pass(n: int, c: int, k: int) -> None:
    if c > n or k > n:
        with pytest.raises(ValueError, match="not defined"):
            pass_at_k(n, c, k)
        return
    draws = list(combinations(range(n), k))
    share = sum(any(index < c for index in draw) for draw in draws) / len(draws)
    assert pass_at_k(n, c, k) == pytest.approx(share)


def test_large_n() -> None:
    assert pass_at_k(200, 1, 100) == pytest.approx(0.5)
    assert pass_at_k(200, 200, 1) == 1.0
    assert pass_at_k(200, 0, 100) == 0.0


def test_wilson_interval_matches_published_values() -> None:
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)  # Newcombe 1998, table I
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(29, 29) == pytest.approx((0.8830, 1.0), abs=5e-5)


def test_bootstrap_is_repeatable_and_holds_the_mean() -> None:
    values = [0.0, 0.2, 0.4, 1.0] * 25
    low, high = bootstrap_interval(values)
    assert (low, high) == bootstrap_interval(values)
    assert low < sum(values) / len(values) < high
    assert bootstrap_interval([0.5, 0.5]) == (0.5, 0.5)


def verdict(task: str, status: VerdictStatus, base: VerdictStatus | None = None) -> Verdict:
    return Verdict(task, 0, status, base or status, None, "no space left", "", 0.0, 0.0)


def test_base_passes_are_counted_apart() -> None:
    verdicts = [verdict("a", "failed", "passed"), verdict("b", "failed"), verdict("c", "passed")]
    assert passes_by_task(verdicts) == {"a": (1, 0), "b": (1, 0), "c": (1, 1)}
    assert passes_by_task(verdicts, "base") == {"a": (1, 1), "b": (1, 0), "c": (1, 1)}
    assert [m.metric for m in score_tasks(passes_by_task(verdicts, "base"), "base_")] == ["base_pass@1"]


def test_groups_hold_the_tasks_that_were_scored() -> None:
    problems = [
        Problem(str(n), "", "f", "", "", groups={"library": "Numpy" if n < 2 else "Pandas", "perturbation": "Origin"})
        for n in range(4)
    ]
    counts = {"0": (1, 1), "1": (1, 0), "2": (1, 1)}
    grouped = score_groups(problems, counts)
    assert {label: {name: group["tasks"] for name, group in groups.items()} for label, groups in grouped.items()} == {
        "library": {"Numpy": 2, "Pandas": 1}, "perturbation": {"Origin": 3},
    }  # fmt: skip
    assert grouped["library"]["Numpy"]["value"] == 0.5
    assert grouped["library"]["Pandas"]["value"] == 1.0


def test_the_standard_error_is_that_of_a_mean() -> None:
    assert score_tasks({"a": (1, 1), "b": (1, 0), "c": (1, 1), "d": (1, 0)})[0].standard_error == pytest.approx(
        (1 / 3) ** 0.5 / 2
    )
    assert score_tasks({"a": (1, 1)})[0].standard_error == 0.0


def test_every_status_but_passed_is_no_pass() -> None:
    statuses: tuple[VerdictStatus, ...] = ("passed", "failed", "timeout", "memory", "extract_failed", "passed")
    assert passes_by_task(verdict("a", status) for status in statuses) == {"a": (6, 2)}


def test_no_score_while_an_infra_error_is_left() -> None:
    with pytest.raises(IncompleteError, match=r"1 programs could not be run \(b: no space left\)"):
        passes_by_task([verdict("a", "passed"), verdict("b", "infra_error")])


def test_ks_follow_the_samples() -> None:
    assert [score.k for score in score_tasks({"a": (1, 1), "b": (1, 0)})] == [1]
    assert [score.k for score in score_tasks({"a": (20, 1), "b": (10, 0)})] == [1, 10]
    assert [score.k for score in score_tasks({"a": (100, 1)})] == [1, 10, 100]
    single = score_tasks({"a": (1, 1), "b": (1, 0)})[0]
    assert (single.value, single.interval_method) == (0.5, "Wilson")
    assert single.interval == wilson_interval(1, 2)
    assert "bootstrap" in score_tasks({str(n): (2, n % 3) for n in range(30)})[0].interval_method


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ({"a": (10, 10)}, 0.2065, 1.0),  # one task that always passed says little of others
        ({"a": (10, 10), "b": (10, 5)}, 0.1979, 0.9733),
        ({str(n): (4, 0) for n in range(164)}, 0.0, 0.0229),
    ],
)
def test_the_interval_of_few_tasks_or_of_tasks_that_are_alike_is_no_point(
    counts: dict[str, tuple[int, int]], low: float, high: float
) -> None:
    for score in score_tasks(counts)[:1]:
        assert score.interval_method == "Wilson over tasks"
        assert score.interval == pytest.approx((low, high), abs=5e-5)
