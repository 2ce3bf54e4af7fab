"""Two models on the same problems: what flipped, and whether that is more than chance; and all pairs of several."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from evolcoder.console import Reporter
from evolcoder.errors import DataError
from evolcoder.storage.arrow_files import read_rows
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import verified_manifest
from evolcoder.study.statistics import (
    difference_interval,
    holm,
    mean_difference,
    paired_differences,
    problems_needed,
    sample_needs,
    sign_flip_p_value,
)

_COLUMNS = ["shared tasks", "pass@1 difference %", "95 % interval", "gained", "lost", "p", "test", "tasks needed to show it"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """``gained`` and ``lost`` are problems on which the second, or the first, does better.

    ``difference`` is the second's pass@1 less the first's, over the shared problems, in [-1, 1]; ``interval`` is that of 95 %
    over problems like these. ``test`` names the paired test, which is two-sided. ``problems_needed`` is about how many
    problems of this kind would show such a difference, at p < 0.05, four times of five; None where there is none to show.
    ``samples_needed`` is how many samples of each of these problems would; None where no number would, or where there is one
    sample, which does not tell.
    """

    shared: int
    gained: list[str]
    lost: list[str]
    difference: float
    interval: tuple[float, float]
    p_value: float
    test: str
    problems_needed: int | None
    samples: int = 1
    samples_needed: int | None = None


@dataclass(frozen=True, slots=True)
class PairComparison:
    """Two of several models, by name; ``p_corrected`` is the p-value corrected for the number of pairs that are compared."""

    first: str
    second: str
    comparison: Comparison
    p_corrected: float


def compare(first: Mapping[str, float], second: Mapping[str, float], samples: int = 1) -> Comparison:
    """Compare pass rates by problem, over the problems that both have.

    Args:
        samples: how many of each problem the rates are of; with more than one, ``samples_needed`` can be told.

    With one sample a problem the p-value is McNemar's exact test: under no difference each flip goes either way with
    probability 1/2. With more it is a paired permutation test, exact too: under no difference each problem's difference has
    either sign. The interval and the test are made in other ways, so that near p = 0.05 one may see what the other does not.
    """
    shared = sorted(first.keys() & second.keys())
    differences = paired_differences(first, second)
    return Comparison(
        shared=len(shared),
        gained=[task for task, value in zip(shared, differences, strict=True) if value > 0],
        lost=[task for task, value in zip(shared, differences, strict=True) if value < 0],
        difference=mean_difference(differences) if shared else 0.0,
        interval=difference_interval(differences),
        p_value=sign_flip_p_value(differences),
        test="McNemar, exact" if all(abs(value) in (0.0, 1.0) for value in differences) else "paired permutation, exact",
        problems_needed=problems_needed(differences),
        samples=samples,
        samples_needed=sample_needs(first, second, samples).samples if samples > 1 and len(shared) > 1 else None,
    )


def compare_pairs(
    rates: Mapping[str, Mapping[str, float]], pairs: Iterable[tuple[str, str]] | None = None
) -> list[PairComparison]:
    """Compare several models on the same problems, two at a time, corrected for their number by Holm's method.

    Args:
        rates: of each model, by name, the pass rates by problem.
        pairs: which, as (first, second); None: every two. Only those that were meant to be compared before the results were
            seen should be left out.
    """
    family = list(combinations(rates, 2) if pairs is None else pairs)
    found = [compare(rates[first], rates[second]) for first, second in family]
    corrected = holm([comparison.p_value for comparison in found])
    return [
        PairComparison(first, second, comparison, p_value)
        for (first, second), comparison, p_value in zip(family, found, corrected, strict=True)
    ]


def compare_evaluations(first: Folder, second: Folder) -> Comparison:
    """Compare two folders that hold evaluations of one benchmark.

    Raises:
        DataError: a folder holds none that is finished, or they are of different benchmarks, or of different problems.
        RunFolderError: files of one are not what they were.
    """
    _check_alike([first, second])
    counts = [json.loads(folder.read_text("score.json"))["samples"] for folder in (first, second)]
    comparison = compare(pass_rates(first), pass_rates(second), counts[0] if counts[0] == counts[1] else 1)
    if not comparison.shared:
        raise DataError(f"{first} and {second} have no problem in common; evaluate both with the same evaluate.limit.")
    return comparison


def compare_every_two(folders: Sequence[Folder]) -> list[PairComparison]:
    """Compare every two of several folders that hold evaluations of one benchmark, corrected for the number of pairs.

    Raises:
        DataError, RunFolderError: as ``compare_evaluations``; or a folder is named twice.
    """
    _check_alike(folders)
    rates = {str(folder): pass_rates(folder) for folder in folders}
    if len(rates) < len(folders):
        raise DataError("A folder is named twice; name each once.")
    pairs = compare_pairs(rates)
    for pair in pairs:
        if not pair.comparison.shared:
            raise DataError(
                f"{pair.first} and {pair.second} have no problem in common; evaluate both with the same evaluate.limit."
            )
    return pairs


def _check_alike(folders: Sequence[Folder]) -> None:
    scores: list[dict[str, Any]] = []
    for folder in folders:
        if verified_manifest(folder) is None:
            raise DataError(
                f"{folder} holds no finished evaluation; name a folder in which `evolcoder evaluate` wrote a score."
            )
        scores.append(json.loads(folder.read_text("score.json")))
        for key in ("benchmark", "benchmark_version"):
            if scores[-1][key] != scores[0][key]:
                raise DataError(
                    f"{folders[0]} is of {scores[0][key]} and {folder} of {scores[-1][key]}: they cannot be compared."
                )


def show_comparison(comparison: Comparison, reporter: Reporter) -> None:
    """The difference, its interval, whether it is more than chance, and what flipped."""
    reporter.table("Second against first", _COLUMNS, [_cells(comparison, comparison.p_value)])
    if comparison.samples > 1 and comparison.difference:
        needed = comparison.samples_needed
        would = (
            f"about {needed:,} samples of each of these tasks"
            if needed
            else "no number of samples of these tasks, only more tasks,"
        )
        reporter.say(f"{would} would show a difference of this size")
    for label, tasks in (("gained", comparison.gained), ("lost", comparison.lost)):
        if tasks:
            reporter.say(f"{label}: {', '.join(sorted(tasks, key=natural))}")


def show_pairs(pairs: Sequence[PairComparison], reporter: Reporter) -> None:
    """Every pair on a line, by the numbers of its folders, with the p-value corrected for their number."""
    names = list(dict.fromkeys(name for pair in pairs for name in (pair.first, pair.second)))
    for number, name in enumerate(names, 1):
        reporter.say(f"{number}: {name}")
    rows = [
        (
            f"{names.index(pair.second) + 1} against {names.index(pair.first) + 1}",
            *_cells(pair.comparison, pair.p_corrected),
        )
        for pair in pairs
    ]
    reporter.table(f"Every two, p corrected for {len(pairs)} comparisons by Holm's method", ["", *_COLUMNS], rows)


def _cells(comparison: Comparison, p_value: float) -> tuple[object, ...]:
    interval = "{:+.1f} to {:+.1f}".format(*(100 * end for end in comparison.interval))
    flips = (len(comparison.gained), len(comparison.lost))
    difference = round(100 * comparison.difference, 1)
    return (
        comparison.shared,
        difference,
        interval,
        *flips,
        float(f"{p_value:.3g}"),
        comparison.test,
        comparison.problems_needed,
    )


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
