"""Two models on the same problems: what flipped, and whether that is more than chance; and all pairs of several."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeVar

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
    samples_needed,
    sign_flip_p_value,
)

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Comparison:
    """``gained`` and ``lost`` are problems on which the second, or the first, does better.

    ``difference`` is the second's pass@1 less the first's, over the shared problems, in [-1, 1]; ``interval`` is that of 95 %
    over problems like these. ``test`` names the paired test, which is two-sided; ``p_corrected`` is its p-value corrected for
    the number of comparisons made beside it. ``problems_needed`` is about how many problems of this kind would show such a
    difference, at p < 0.05, four times of five; None where there is none to show. ``samples_needed`` is how many samples of
    each of these problems would; None where no number would, or where there is one sample, which does not tell.
    """

    shared: int
    gained: list[str]
    lost: list[str]
    difference: float
    interval: tuple[float, float]
    p_value: float
    p_corrected: float
    test: str
    problems_needed: int | None
    samples: int
    samples_needed: int | None


def compare(first: Mapping[str, float], second: Mapping[str, float], samples: tuple[int, int] = (1, 1)) -> Comparison:
    """Compare pass rates by problem, over the problems that both have.

    Args:
        samples: how many of each problem the rates of the first, and of the second, are of; where both have as many, and more
            than one, ``samples_needed`` can be told.

    With one sample a problem the p-value is McNemar's exact test: under no difference each flip goes either way with
    probability 1/2. With more it is a paired permutation test, exact too: under no difference each problem's difference has
    either sign. The interval and the test are made in other ways, so that near p = 0.05 one may see what the other does not.
    """
    shared = sorted(first.keys() & second.keys())
    differences = paired_differences(first, second)
    of_flips = max(samples) == 1 and all(abs(value) in (0.0, 1.0) for value in differences)
    as_many = samples[0] if samples[0] == samples[1] else 1
    p_value = sign_flip_p_value(differences)
    return Comparison(
        shared=len(shared),
        gained=[task for task, value in zip(shared, differences, strict=True) if value > 0],
        lost=[task for task, value in zip(shared, differences, strict=True) if value < 0],
        difference=mean_difference(differences) if shared else 0.0,
        interval=difference_interval(differences),
        p_value=p_value,
        p_corrected=p_value,
        test="McNemar, exact" if of_flips else "paired permutation, exact",
        problems_needed=problems_needed(differences),
        samples=as_many,
        samples_needed=samples_needed(first, second, as_many),
    )


def corrected(comparisons: Mapping[Key, Comparison]) -> dict[Key, Comparison]:
    """The same, with p-values corrected for their number by Holm's method."""
    p_values = holm([one.p_value for one in comparisons.values()])
    return {key: replace(one, p_corrected=p) for (key, one), p in zip(comparisons.items(), p_values, strict=True)}


def compare_evaluations(folders: Sequence[Folder]) -> dict[tuple[str, str], Comparison]:
    """Compare every two of several folders that hold evaluations of one benchmark, corrected for the number of pairs.

    Raises:
        DataError: a folder holds none that is finished, or they are of different benchmarks, or of different problems; or one
            of more than two is named twice.
        RunFolderError: files of one are not what they were.
    """
    scores = []
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
    if len(set(map(str, folders))) < len(folders) > 2:
        raise DataError("A folder is named twice; name each once.")
    found = {}
    evaluations = [(str(folder), pass_rates(folder), score["samples"]) for folder, score in zip(folders, scores, strict=True)]
    for (first, rates, samples), (second, other_rates, other_samples) in combinations(evaluations, 2):
        found[first, second] = compare(rates, other_rates, (samples, other_samples))
        if not found[first, second].shared:
            raise DataError(f"{first} and {second} have no problem in common; evaluate both with the same evaluate.limit.")
    return corrected(found)


def show_comparisons(comparisons: Mapping[tuple[str, str], Comparison], reporter: Reporter) -> None:
    """Each difference, its interval, and whether it is more than chance; of two evaluations also what flipped.

    Of several each pair is a line, by the numbers of their folders.
    """
    several = len(comparisons) > 1
    names = list(dict.fromkeys(name for pair in comparisons for name in pair))
    for number, name in enumerate(names, 1) if several else ():
        reporter.say(f"{number}: {name}")
    columns = ["shared tasks", "pass@1 difference %", "95 % interval", "gained", "lost", "p", "test", "tasks needed to show it"]
    rows: list[tuple[object, ...]] = []
    for (first, second), one in comparisons.items():
        cells = (
            one.shared,
            round(100 * one.difference, 1),
            "{:+.1f} to {:+.1f}".format(*(100 * end for end in one.interval)),
            len(one.gained),
            len(one.lost),
            float(f"{one.p_corrected:.3g}"),
            one.test,
            one.problems_needed,
        )
        rows.append((f"{names.index(second) + 1} against {names.index(first) + 1}", *cells) if several else cells)
    if several:
        reporter.table(f"Every two, p corrected for {len(rows)} comparisons by Holm's method", ["", *columns], rows)
        return
    reporter.table("Second against first", columns, rows)
    (one,) = comparisons.values()
    if one.samples > 1 and one.difference:
        would = "no number of samples of these tasks, only more tasks,"
        if one.samples_needed:
            would = f"about {one.samples_needed:,} samples of each of these tasks"
        reporter.say(f"{would} would show a difference of this size")
    for label, tasks in (("gained", one.gained), ("lost", one.lost)):
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
