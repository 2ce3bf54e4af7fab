"""Evol Stop: whether another round of evolution pays, from the pass rates on development problems after each round. Pure.

The rule. The model trained on rounds 0 to k is a gain when it solves more of the development problems than the best model
so far, and the difference is shown by a one-sided paired test (``statistics.sign_flip_p_value``; McNemar's exact test where
there is one sample a problem). Evolution goes on after a gain, and ends when ``patience`` rounds in a row were none, or after
``max_rounds``. Round 0, the seeds alone, is where it starts. The round that is taken is the one of the highest pass rate so
far; of equal ones the one of fewer rounds.

The error rate. Each test is made at ``error_rate / patience``. Say that from some round on none is better than it: then
going on past the ``patience`` rounds that follow takes a false gain in one of as many tests, which happens with a
probability of at most ``error_rate`` (Bonferroni). Tests before and after need no share of it, since they are made in a fixed
order and each needs the one before to have gone well (Maurer, Hothorn and Lehmacher 1995; Westfall and Krishen 2001, "Optimally
weighted, fixed sequence and gatekeeper multiple testing procedures", J. Stat. Plan. Inference 99). Which round was the best so
far is itself a matter of chance, so a gain must be shown over *each* earlier round, which needs no further correction (an
intersection-union test: Berger 1982, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24).

What it does not promise: that it goes on whenever a round was a gain. A test that seldom errs needs a difference that is large
for the number of problems: of 400, with a fifth solved by one of two models alone, two points are seen in 31 of 100 cases at
an error rate of 0.1, five points in 80. A gain that is missed ends the evolution; more samples of each problem help. The error
rate is over problems: the rule compares the models that were trained, and what the seed of a training did to one is as much a
gain to it as what the data did. McNemar's mid-p would see two points in 35, but breaks the stated rate: given 8 problems that
differ, 0.1 becomes 0.14.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from evolcoder.errors import DataError
from evolcoder.study.evidence.findings import p_text
from evolcoder.study.statistics import mean_difference, paired_differences, problems_needed, sign_flip_p_value


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """``error_rate``: how often, at most, it goes on past a plateau. ``patience``: how many rounds in a row may be no gain.

    Raises:
        ValueError: ``error_rate`` is not between 0 and 1, or ``patience`` or ``max_rounds`` is below 1.
    """

    error_rate: float
    patience: int
    max_rounds: int

    def __post_init__(self) -> None:
        if not 0 < self.error_rate < 1 or self.patience < 1 or self.max_rounds < 1:
            raise ValueError(f"an error rate is between 0 and 1, and patience and max_rounds are at least 1: {self}")


@dataclass(frozen=True, slots=True)
class RoundTest:
    """What a round is compared with, and what came of it.

    ``against`` is the earlier round over which a gain is hardest to show: nearly always the best so far. ``difference`` is the
    round's pass rate less that one's, ``p_value`` one-sided, ``level`` what it must not exceed for ``gain``.
    """

    round: int
    against: int
    difference: float
    p_value: float
    level: float
    gain: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """``best_round`` is the one to take if evolution ends here; ``reason`` one sentence for users; ``tests`` one a round."""

    go_on: bool
    best_round: int
    reason: str
    tests: tuple[RoundTest, ...]


def decide(pass_rates: Sequence[Mapping[str, float]], rule: StoppingRule) -> Decision:
    """Whether to evolve a further round, after the last of ``pass_rates``; or how it ended, where it would have ended before.

    Args:
        pass_rates: of each round k, from 0 on without a gap, by problem id the share of samples, in [0, 1], that the model
            trained on rounds 0 to k passed. All rounds must be of the same problems. Rounds after the one at which the rule
            stops are not looked at, so that they change nothing.

    Raises:
        DataError: a round has no pass rates, or is of other problems than round 0.
    """
    if not pass_rates:
        raise DataError("No round has pass rates on the development problems yet; score round 0 first.")
    tests: list[RoundTest] = []
    without_gain = 0
    for number, rates in enumerate(pass_rates):
        if not rates:
            raise DataError(f"Round {number} has no pass rates on the development problems; score it first.")
        if other := rates.keys() ^ pass_rates[0].keys():
            raise DataError(
                f"Rounds 0 and {number} were not scored on the same development problems ({len(other)} are of one of them "
                "alone); score both on the same ones."
            )
        if number:
            tests.append(_test(pass_rates, number, rule.error_rate / rule.patience))
            without_gain = 0 if tests[-1].gain else without_gain + 1
        if without_gain == rule.patience or number == rule.max_rounds:
            break
    means = [round(fmean(rates.values()), 12) for rates in pass_rates[: len(tests) + 1]]
    best = means.index(max(means))
    go_on = without_gain < rule.patience and len(tests) < rule.max_rounds
    reason = "Round 0, the seeds alone, has nothing to be compared with yet, so round 1 is evolved."
    if tests:
        reason = _finding(pass_rates, tests[-1]) + _consequence(rule, tests[-1], without_gain, go_on, best)
    return Decision(go_on, best, reason, tuple(tests))


def _test(pass_rates: Sequence[Mapping[str, float]], number: int, level: float) -> RoundTest:
    """Against each earlier round; told is the one with the largest p-value, of equal ones the best, then the later."""
    found = []
    for earlier in range(number):
        differences = paired_differences(pass_rates[earlier], pass_rates[number])
        found.append((sign_flip_p_value(differences, two_sided=False), -mean_difference(differences), earlier))
    gain = all(p_value <= level and behind < 0 for p_value, behind, _ in found)
    p_value, behind, against = max(found)
    return RoundTest(number, against, -behind, p_value, level, gain)


def _finding(pass_rates: Sequence[Mapping[str, float]], test: RoundTest) -> str:
    """The difference, whether it is shown, and what would show it."""
    points, those = f"{100 * abs(test.difference):.1f} points", f"of the {len(pass_rates[0]):,} development problems"
    shown = f"{p_text(test.p_value)}, where at most {test.level:g} is asked for"
    if test.difference == 0:
        return f"Round {test.round} solves as many {those} as round {test.against}"
    if test.difference < 0:
        return f"Round {test.round} solves {points} fewer {those} than round {test.against}"
    more = f"Round {test.round} solves {points} more {those} than round {test.against}"
    if test.gain:
        return f"{more} ({shown})"
    differences = paired_differences(pass_rates[test.against], pass_rates[test.round])
    needed = problems_needed(differences, level=test.level, two_sided=False)
    would = "" if needed is None else f"; about {needed:,} problems would show such a difference"
    return f"{more}, which may be chance ({shown}{would})"


def _consequence(rule: StoppingRule, last: RoundTest, without_gain: int, go_on: bool, best: int) -> str:
    if go_on:
        patient = "" if last.gain else f"; {rule.patience} rounds in a row may be no gain"
        return f"{patient}, so round {last.round + 1} is evolved."
    ends = f"evolution ends and round {best}, the best so far, is taken"
    if without_gain < rule.patience:
        return f"; {last.round} rounds are as many as evolve.max_rounds allows, so {ends}."
    return f", so {ends}{'' if rule.patience == 1 else f' after {rule.patience} rounds in a row without a gain'}."
