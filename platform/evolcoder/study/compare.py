"""Two models on the same problems: what flipped, and whether that is more than chance."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, comb, fsum
from statistics import NormalDist, variance

from evolcoder.console import Reporter
from evolcoder.errors import DataError
from evolcoder.storage.arrow_files import read_rows
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import verified_manifest

_RESAMPLES = 10_000
_SEED = 0
_EFFECT_OF_POWER = (NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)) ** 2
"""Squared, the distance between no difference and one, in standard errors, at which a two-sided test at 5 % has 80 % power."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """``gained`` and ``lost`` are problems on which the second, or the first, does better.

    ``difference`` is the second's pass@1 less the first's, over the shared problems; ``test`` names the paired test.
    ``problems_needed`` is about how many problems of this kind would show such a difference, at p < 0.05, four times of
    five; None where there is none to show.
    """

    shared: int
    gained: list[str]
    lost: list[str]
    difference: float
    p_value: float
    test: str
    problems_needed: int | None


def compare(first: Mapping[str, float], second: Mapping[str, float]) -> Comparison:
    """Compare pass rates by problem, over the problems that both have.

    With one sample a problem the p-value is McNemar's exact test, two-sided: under no difference each flip goes either way
    with probability 1/2. With more it is a paired permutation test: under no difference each problem's difference has
    either sign; seeded, so that the same rates give the same value.
    """
    shared = sorted(first.keys() & second.keys())
    differences = {task: float(second[task]) - float(first[task]) for task in shared}
    gained = [task for task in shared if differences[task] > 0]
    lost = [task for task in shared if differences[task] < 0]
    mean = fsum(differences.values()) / len(shared) if shared else 0.0
    needed = None
    if mean and len(shared) > 1:
        needed = ceil(_EFFECT_OF_POWER * variance(differences.values(), mean) / mean**2)
    flips = [value for value in differences.values() if value]
    if all(abs(value) == 1.0 for value in flips):
        tail = sum(comb(len(flips), k) for k in range(min(len(gained), len(lost)) + 1))
        p_value, test = min(1.0, 2 * (tail / 2 ** len(flips))), "McNemar, exact"
        return Comparison(len(shared), gained, lost, mean, p_value, test, needed)
    draw = random.Random(_SEED)
    observed = abs(fsum(flips)) - 1e-12  # the same differences in another order may sum to a little less
    as_large = sum(abs(fsum(draw.choice((value, -value)) for value in flips)) >= observed for _ in range(_RESAMPLES))
    p_value = (as_large + 1) / (_RESAMPLES + 1)
    return Comparison(len(shared), gained, lost, mean, p_value, f"paired permutation, {_RESAMPLES} draws", needed)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number by Holm's step-down method (Holm 1979), in the order given."""
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def compare_evaluations(first: Folder, second: Folder) -> Comparison:
    """Compare two folders that hold evaluations of one benchmark.

    Raises:
        DataError: a folder holds none that is finished, or they are of different benchmarks.
        RunFolderError: files of one are not what they were.
    """
    scores: list[dict[str, str]] = []
    for folder in (first, second):
        if verified_manifest(folder) is None:
            raise DataError(
                f"{folder} holds no finished evaluation; name a folder in which `evolcoder evaluate` wrote a score."
            )
        scores.append(json.loads(folder.read_text("score.json")))
    for key in ("benchmark", "benchmark_version"):
        if scores[0][key] != scores[1][key]:
            raise DataError(f"{first} is of {scores[0][key]} and {second} of {scores[1][key]}: they cannot be compared.")
    return compare(pass_rates(first), pass_rates(second))


def show_comparison(comparison: Comparison, reporter: Reporter) -> None:
    """The difference, whether it is more than chance, and what flipped."""
    columns = ["shared tasks", "pass@1 difference %", "gained", "lost", "p", "test", "tasks needed to show it"]
    counts = (len(comparison.gained), len(comparison.lost))
    difference, p_value = round(100 * comparison.difference, 1), round(comparison.p_value, 4)
    row = (comparison.shared, difference, *counts, p_value, comparison.test, comparison.problems_needed)
    reporter.table("Second against first", columns, [row])
    for label, tasks in (("gained", comparison.gained), ("lost", comparison.lost)):
        if tasks:
            reporter.say(f"{label}: {', '.join(sorted(tasks, key=natural))}")


def natural(task_id: str) -> tuple[str, int]:
    """A sort key that puts task 9 before task 10."""
    head, _, number = task_id.rpartition("/")
    return head, int(number) if number.isdigit() else 0


def pass_rates(folder: Folder) -> dict[str, float]:
    """The share of each problem's samples that passed, as an evaluation's verdicts have it.

    Raises:
        DataError: some program could not be run, which says nothing of whether it would pass.
    """
    passed: defaultdict[str, list[bool]] = defaultdict(list)
    for verdict in read_rows(folder, "verdicts.arrow", ["task_id", "status"]):
        if verdict["status"] == "infra_error":
            raise DataError(f"{folder} holds programs that could not be run ({verdict['task_id']}); evaluate it again first.")
        passed[verdict["task_id"]].append(verdict["status"] == "passed")
    return {task: sum(samples) / len(samples) for task, samples in passed.items()}
