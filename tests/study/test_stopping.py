from __future__ import annotations

from itertools import pairwise, product
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolcoder.errors import DataError
from evolcoder.study.stopping import StoppingRule, decide

RULE = StoppingRule(error_rate=0.1, patience=1, max_rounds=5)
PATIENT = StoppingRule(error_rate=0.1, patience=2, max_rounds=5)
Rates = dict[str, float]


def solved(*ranges: range, of: int = 100) -> Rates:
    """One sample of each of so many problems; those in the ranges are solved."""
    return {f"task/{n:03}": float(any(n in one for one in ranges)) for n in range(of)}


def first(count: int) -> Rates:
    return solved(range(count))


def test_the_seeds_alone_are_where_it_starts() -> None:
    decision = decide([first(40)], RULE)
    assert (decision.go_on, decision.best_round, decision.tests) == (True, 0, ())
    assert decision.reason == "Round 0, the seeds alone, has nothing to be compared with yet, so round 1 is evolved."


def test_it_goes_on_after_a_gain_that_is_shown() -> None:
    decision = decide([first(40), first(44)], RULE)
    (test,) = decision.tests
    assert (test.round, test.against, test.gain, test.level) == (1, 0, True, 0.1)
    assert test.difference == pytest.approx(0.04)
    assert test.p_value == 1 / 2**4  # McNemar's exact test, one-sided: four flips, all one way
    assert (decision.go_on, decision.best_round) == (True, 1)
    assert decision.reason == (
        "Round 1 solves 4.0 points more of the 100 development problems than round 0 (p = 0.062, where at most 0.1 is asked "
        "for), so round 2 is evolved."
    )


def test_a_gain_that_may_be_chance_ends_it_and_the_best_round_is_taken() -> None:
    decision = decide([first(40), first(43)], RULE)
    assert (decision.go_on, decision.best_round, decision.tests[0].gain) == (False, 1, False)
    # (1.2816 + 0.8416)^2 x 0.0294 / 0.03^2
    assert decision.reason == (
        "Round 1 solves 3.0 points more of the 100 development problems than round 0, which may be chance (p = 0.12, where at "
        "most 0.1 is asked for; about 148 problems would show such a difference), so evolution ends and round 1, the best so "
        "far, is taken."
    )


def test_a_round_that_is_worse_ends_it() -> None:
    decision = decide([first(30), first(50), first(45)], RULE)
    assert (decision.go_on, decision.best_round) == (False, 1)
    assert decision.reason == (
        "Round 2 solves 5.0 points fewer of the 100 development problems than round 1, so evolution ends and round 1, the best "
        "so far, is taken."
    )


def test_of_equal_rounds_the_one_of_fewer_rounds_is_taken() -> None:
    decision = decide([first(40), solved(range(10, 50))], RULE)
    assert (decision.go_on, decision.best_round) == (False, 0)
    assert decision.reason.startswith("Round 1 solves as many of the 100 development problems as round 0, so evolution ends")


def test_shares_that_sum_to_the_same_are_equal() -> None:
    """In floats, 0.1 + 0.2 is more than 0.3 + 0."""
    decision = decide([{"a": 0.3, "b": 0.0}, {"a": 0.1, "b": 0.2}], RULE)
    assert (decision.best_round, decision.tests[0].difference) == (0, 0.0)
    assert "as many" in decision.reason


def test_patience_allows_rounds_without_a_gain_and_shares_the_error_rate_among_them() -> None:
    curve = [first(40), first(39), first(45), first(44), first(43), first(80)]
    decisions = [decide(curve[: rounds + 1], PATIENT) for rounds in range(6)]
    assert [one.go_on for one in decisions] == [True, True, True, True, False, False]
    assert [one.best_round for one in decisions] == [0, 0, 2, 2, 2, 2]
    assert [test.level for test in decisions[-1].tests] == [0.05] * 4
    assert [test.gain for test in decisions[-1].tests] == [False, True, False, False]
    assert "2 rounds in a row may be no gain, so round 2 is evolved" in decisions[1].reason
    assert decisions[4].reason.endswith("round 2, the best so far, is taken after 2 rounds in a row without a gain.")
    assert not decide([first(40), first(44)], PATIENT).tests[0].gain  # shown at 0.1, not at 0.05


def test_it_ends_with_the_last_round_that_is_allowed_however_good() -> None:
    decision = decide([first(10), first(30), first(50)], StoppingRule(0.1, 1, 2))
    assert (decision.go_on, decision.best_round, decision.tests[-1].gain) == (False, 2, True)
    assert "2 rounds are as many as evolve.max_rounds allows, so evolution ends and round 2" in decision.reason


def test_a_gain_must_be_shown_over_every_earlier_round() -> None:
    """A dip, by chance the best, and then what was there before: shown over the round of the dip, and no gain."""
    seeds = first(50)
    dip = solved(range(30), range(50, 71))  # 51, by other problems
    back = solved(range(30), range(50, 76))  # the same and 5 more: over the dip p = 1/32
    tests = decide([seeds, dip, back], PATIENT).tests
    assert (tests[1].against, tests[1].gain) == (0, False)
    assert tests[1].difference == pytest.approx(0.06)


def test_several_samples_of_a_problem_are_tested_by_their_shares() -> None:
    before = dict.fromkeys("abcdefgh", 0.2)
    decision = decide([before, {**dict.fromkeys("abcdefgh", 0.4), "h": 0.1}], RULE)
    # Of the 256 ways to set the signs of seven 0.2 and one 0.1, those with a sum of at least 1.3: the seen one and all plus.
    assert decision.tests[0].p_value == 2 / 2**8
    assert decision.go_on


def test_on_a_plateau_it_goes_on_no_more_often_than_stated() -> None:
    """All outcomes of three rounds on four problems, each as likely as any other when every model solves half of them."""
    rule = StoppingRule(error_rate=0.3, patience=2, max_rounds=5)
    rounds = [{str(task): float(passed) for task, passed in enumerate(bits)} for bits in product((0, 1), repeat=4)]
    goes_on = sum(decide(curve, rule).go_on for curve in product(rounds, repeat=3))
    assert 0 < goes_on / len(rounds) ** 3 <= 0.3


@pytest.mark.parametrize("level", [0.01, 0.05, 0.1, 0.25])
@pytest.mark.parametrize("flips", [1, 5, 8, 20, 81])
def test_the_chance_of_a_false_gain_is_at_most_the_level(level: float, flips: int) -> None:
    """Of every number of problems that one model alone solves, by the binomial with 1/2."""
    false_gains = 0.0
    for gained in range(flips + 1):
        curve = [solved(range(gained, flips), of=flips), solved(range(gained), of=flips)]
        false_gains += comb(flips, gained) / 2**flips * decide(curve, StoppingRule(level, 1, 3)).go_on
    assert false_gains <= level


CURVES = st.integers(1, 12).flatmap(
    lambda problems: st.lists(
        st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=problems, max_size=problems).map(
            lambda rates: {str(n): rate for n, rate in enumerate(rates)}
        ),
        min_size=1,
        max_size=6,
    )
)
RULES = st.builds(StoppingRule, st.floats(0.01, 0.9), st.integers(1, 3), st.integers(1, 5))


@settings(deadline=None)
@given(CURVES, RULES)
def test_what_comes_after_the_end_changes_nothing(curve: list[Rates], rule: StoppingRule) -> None:
    decisions = [decide(curve[: rounds + 1], rule) for rounds in range(len(curve))]
    for before, after in pairwise(decisions):
        if not before.go_on:
            assert after == before
        assert after.tests[: len(before.tests)] == before.tests


@settings(deadline=None)
@given(CURVES, RULES)
def test_a_decision_holds_together(curve: list[Rates], rule: StoppingRule) -> None:
    decision = decide(curve, rule)
    assert [test.round for test in decision.tests] == list(range(1, len(decision.tests) + 1))
    assert 0 <= decision.best_round <= len(decision.tests) <= rule.max_rounds
    for test in decision.tests:
        assert test.against < test.round
        assert not test.gain or (test.p_value <= test.level and test.difference > 0)
    assert decision.reason.endswith(".")
    assert ". " not in decision.reason
    if decision.go_on:
        assert f"so round {len(decision.tests) + 1} is evolved" in decision.reason
    else:
        assert f"evolution ends and round {decision.best_round}, the best so far, is taken" in decision.reason


def test_what_cannot_be_compared_is_one_sentence() -> None:
    with pytest.raises(DataError, match=r"No round has pass rates .*; score round 0 first"):
        decide([], RULE)
    with pytest.raises(DataError, match="Round 1 has no pass rates on the development problems; score it first"):
        decide([first(40), {}], RULE)
    with pytest.raises(DataError, match=r"Rounds 0 and 1 were not scored on the same development problems \(20 are of one"):
        decide([first(40), solved(of=80)], RULE)


def test_a_rule_is_checked_at_birth() -> None:
    for wrong in ((0.0, 1, 1), (1.0, 1, 1), (0.1, 0, 1), (0.1, 1, 0)):
        with pytest.raises(ValueError, match="patience and max_rounds are at least 1"):
            StoppingRule(*wrong)
