"""How often Evol Stop takes the right round, and goes on where it should not, on simulated studies.

    python -m benchmarks.evol_stop [--draws 200] [--problems 471] [--error-rate 0.1] [--only CURVE ...]

In each draw, problems with difficulties of their own are drawn from many, and each round's model has a skill on each problem:
the chance that a sample passes. A curve says what the skills of each round's model are on average over all problems; beside
that, each training does something else to each problem. Samples are drawn from the skills, and ``decide`` is asked after
each round, as a run with ``evolve.rounds: auto`` asks it. No model is trained and nothing is asked of an endpoint.

Columns: ``differ``: the share of problems that one of the first two models alone solves, with one sample. ``best``: a round
of the highest true skill was taken. ``in noise``: its true skill is below the best by no more than 1.96 standard errors of the
difference of two such models on so many problems. ``lost``: how many points it is below, on average. ``went on``: how often it
evolved more than ``patience`` rounds past the best one, which is to be at most the error rate; with its 95 % interval.
``rounds``: how many were evolved, on average. The error rate is over problems: what the seed of a training does to a whole
round is as much a gain to the rule as what the data does (``flat, seeds``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean

import numpy as np
from benchmarks.common import parser, print_header, print_row
from numpy.typing import NDArray

from evolcoder.evaluate.scoring import wilson_interval
from evolcoder.study.stopping import StoppingRule, decide

CURVES = {
    "rises, falls": (30, 38, 44, 48, 44, 40, 36),
    "paper": (45.7, 56.1, 53.0, 54.3, 51.2),
    "rises slowly, falls": (40, 42, 44, 46, 44, 42, 40),
    "small steps, falls": (40, 41, 42, 43, 42, 41, 40),
    "always rises": (30, 36, 40, 43, 45, 46, 47),
    "dips, rises, falls": (40, 38, 46, 48, 44, 40, 36),
    "flat": (40, 40, 40, 40, 40, 40, 40),
    "flat, seeds": (40, 40, 40, 40, 40, 40, 40),
    "falls": (40, 38, 36, 35, 34, 33, 32),
}
"""Mean skill after each round, in points. ``paper``: of each round alone, on HumanEval."""

SEED_POINTS = {"flat, seeds": 1.5}
"""Of these curves, the standard deviation of what the seed of its training does to the whole of a round."""

SETTINGS = ((1, 1), (1, 2), (10, 1), (10, 2))
"""Samples of each problem, and patience."""

_DIFFICULTY, _TRAINING = 4.0, 1.0
"""Standard deviations, in logits, of a problem's difficulty and of what a training does to it."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """One draw: the round taken, how far its true skill is below the best, in [0, 1], and how many rounds were evolved."""

    best: bool
    lost: float
    in_noise: bool
    evolved: int
    differ: float


def draw(
    curve: tuple[float, ...],
    seed_points: float,
    problems: int,
    samples: int,
    rule: StoppingRule,
    generator: np.random.Generator,
) -> Outcome:
    means = curve if not seed_points else tuple((np.array(curve) + generator.normal(0, seed_points, len(curve))).tolist())
    logits = generator.normal(0, _DIFFICULTY, problems) + generator.normal(0, _TRAINING, (len(curve), problems))
    skills = _chance(logits + _shifts(means)[:, None])
    shares = generator.binomial(samples, skills) / samples
    rates = [dict(zip(map(str, range(problems)), row.tolist(), strict=True)) for row in shares]
    asked = 1
    while (decision := decide(rates[:asked], rule)).go_on:
        asked += 1
    lost = (max(curve) - curve[decision.best_round]) / 100
    taken, best = skills[decision.best_round], skills[curve.index(max(curve))]
    variance = (taken - best).var() + ((taken * (1 - taken) + best * (1 - best)) / samples).mean()
    differ = float((skills[0] * (1 - skills[1]) + skills[1] * (1 - skills[0])).mean())
    return Outcome(lost == 0, lost, bool(lost <= 1.96 * np.sqrt(variance / problems)), asked - 1, differ)


@lru_cache(maxsize=16)
def _shifts(means: tuple[float, ...]) -> Array:
    """What each round adds to all logits, so that the mean skill over all problems is as given, in points."""
    places, weights = np.polynomial.hermite_e.hermegauss(100)
    spread = places * np.hypot(_DIFFICULTY, _TRAINING)
    low, high = np.full(len(means), -20.0), np.full(len(means), 20.0)
    for _ in range(50):
        middle = (low + high) / 2
        less = _chance(spread + middle[:, None]) @ weights / weights.sum() < np.array(means) / 100
        low, high = np.where(less, middle, low), np.where(less, high, middle)
    return high


def _chance(logits: Array) -> Array:
    chances: Array = 1 / (1 + np.exp(-logits))
    return chances


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--draws", type=int, default=200)
    arguments.add_argument("--problems", type=int, default=471, help="471 is mbpp-dev whole")
    arguments.add_argument("--error-rate", type=float, default=0.1)
    arguments.add_argument("--only", nargs="+", choices=CURVES, default=list(CURVES))
    chosen = arguments.parse_args()
    print_header("curve", "samples", "patience", "differ", "best", "in noise", "lost", "went on", "95 % interval", "rounds")
    for name in chosen.only:
        for samples, patience in SETTINGS:
            rule = StoppingRule(chosen.error_rate, patience, len(CURVES[name]) - 1)
            generator = np.random.default_rng(0)
            drawn = (CURVES[name], SEED_POINTS.get(name, 0.0), chosen.problems, samples, rule, generator)
            print_row(name, samples, patience, *_cells([draw(*drawn) for _ in range(chosen.draws)], CURVES[name], rule))


def _cells(found: list[Outcome], curve: tuple[float, ...], rule: StoppingRule) -> list[str]:
    past = curve.index(max(curve)) + rule.patience
    on = sum(outcome.evolved > past for outcome in found)
    low, high = wilson_interval(on, len(found))
    return [
        f"{fmean(outcome.differ for outcome in found):.2f}",
        f"{fmean(outcome.best for outcome in found):.2f}",
        f"{fmean(outcome.in_noise for outcome in found):.2f}",
        f"{100 * fmean(outcome.lost for outcome in found):.1f}",
        # Where the curve ends less than patience rounds past its best one, there is nowhere to go on to.
        *((f"{on / len(found):.3f}", f"{low:.3f} to {high:.3f}") if past < rule.max_rounds else ("-", "-")),
        f"{fmean(outcome.evolved for outcome in found):.1f}",
    ]


if __name__ == "__main__":
    main()
