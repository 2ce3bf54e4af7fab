"""pass@k and its 95 % interval. Pure."""

from __future__ import annotations

import math
import random
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from evolcoder.errors import IncompleteError
from evolcoder.evaluate.benchmarks.base import Problem
from evolcoder.records import Verdict

KS = (1, 10, 100)
_Z_95 = 1.959963984540054
_RESAMPLES = 2000
_BOOTSTRAP_SEED = 0
_FEW_TASKS = 30


@dataclass(frozen=True, slots=True)
class Metric:
    """pass@k over tasks. ``metric`` is its name, such as ``pass@1`` or ``base_pass@1``."""

    metric: str
    k: int
    value: float
    standard_error: float
    interval: tuple[float, float]
    interval_method: str


def pass_at_k(n: int, c: int, k: int) -> float:
    """The unbiased estimate of the chance that one of k samples passes, from c of n that passed.

    ``1 - C(n-c, k) / C(n, k)`` (Chen et al. 2021), as a product that neither overflows nor rounds.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass@{k} is not defined for {c} of {n}")
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson 1927), or of a mean of shares: ``successes`` is their sum."""
    share = successes / trials
    scale = 1 + _Z_95**2 / trials
    middle = (share + _Z_95**2 / (2 * trials)) / scale
    half = _Z_95 * math.sqrt(share * (1 - share) / trials + _Z_95**2 / (4 * trials**2)) / scale
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % percentile interval of the mean over tasks, seeded: the same values give the same interval."""
    generator = random.Random(_BOOTSTRAP_SEED)
    means = sorted(math.fsum(generator.choices(values, k=len(values))) / len(values) for _ in range(_RESAMPLES))
    return means[round(0.025 * (_RESAMPLES - 1))], means[round(0.975 * (_RESAMPLES - 1))]


def passes_by_task(verdicts: Iterable[Verdict], part: Literal["all", "base"] = "all") -> dict[str, tuple[int, int]]:
    """Samples and passed samples of each task, over all parts of its tests or the base part alone.

    Raises:
        IncompleteError: an ``infra_error`` is left: it says nothing about the program, so there is no score.
    """
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    broken: list[Verdict] = []
    for verdict in verdicts:
        if verdict.status == "infra_error":
            broken.append(verdict)
        counts[verdict.task_id][0] += 1
        counts[verdict.task_id][1] += (verdict.status if part == "all" else verdict.base) == "passed"
    if broken:
        raise IncompleteError(
            f"{len(broken)} programs could not be run ({broken[0].task_id}: {broken[0].detail}), so there is no score; "
            "run the same command again: no question is asked twice."
        )
    return {task: (n, c) for task, (n, c) in counts.items()}


def score_tasks(counts: Mapping[str, tuple[int, int]], prefix: str = "") -> list[Metric]:
    """pass@k for every k that the samples allow, averaged over tasks.

    The interval is Wilson's for one sample a task, else a bootstrap over tasks. One of few tasks is too narrow, and where all
    tasks fared alike it is a point (Bowyer, Aitchison and Ivanova 2025, "Position: don't use the CLT in LLM evals with fewer
    than a few hundred datapoints", advise Wilson's): there it is Wilson's over tasks. That takes a task's variance for
    ``mean (1 - mean)``, the most that shares in [0, 1] can have, so that with several samples it is rather too wide.
    """
    metrics = []
    for k in KS:
        if k > min(n for n, _ in counts.values()):
            break
        values = [pass_at_k(n, c, k) for n, c in counts.values()]
        if all(n == 1 for n, _ in counts.values()):
            interval, method = wilson_interval(sum(c for _, c in counts.values()), len(counts)), "Wilson"
        elif len(values) < _FEW_TASKS or len(set(values)) == 1:
            interval, method = wilson_interval(math.fsum(values), len(values)), "Wilson over tasks"
        else:
            interval = bootstrap_interval(values)
            method = f"bootstrap over tasks, {_RESAMPLES} resamples, seed {_BOOTSTRAP_SEED}"
        mean = math.fsum(values) / len(values)
        # Of the mean over tasks; a single task says nothing of it.
        standard_error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
        metrics.append(Metric(f"{prefix}pass@{k}", k, mean, standard_error, interval, method))
    return metrics


def score_groups(problems: Iterable[Problem], counts: Mapping[str, tuple[int, int]]) -> dict[str, dict[str, dict[str, Any]]]:
    """pass@1 of each group of problems with the number of its tasks, by label and group, in order of name."""
    members: defaultdict[tuple[str, str], dict[str, tuple[int, int]]] = defaultdict(dict)
    for problem in problems:
        for label, name in problem.groups.items():
            if problem.task_id in counts:
                members[label, name][problem.task_id] = counts[problem.task_id]
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for (label, name), group in sorted(members.items()):
        found.setdefault(label, {})[name] = {"tasks": len(group), **asdict(score_tasks(group)[0])}
    return found
