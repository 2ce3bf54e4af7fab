"""Models of a run on the same problems: base against tuned, each model against the base, later rounds against the seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from evolcoder.run.variants import BASE, TUNED, Variant, up_to
from evolcoder.stages.listing import RunStage
from evolcoder.storage.arrow_files import read_rows
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Manifest
from evolcoder.study.compare import Comparison, compare, natural
from evolcoder.study.evidence.rounds import shortened
from evolcoder.study.seeds import compare_over_seeds, over_seeds
from evolcoder.study.statistics import holm

PROBLEMS_SHOWN = {"gained": 20, "lost": 20, "both": 5, "neither": 5}
"""Of each benchmark, how many problems of each kind a report shows with prompt, answer and program."""
_LONGEST_SHOWN = 6_000

Rates = Mapping[tuple[str, str], Mapping[str, float]]
"""The pass rates of a model on a benchmark, by problem."""


def base_against_tuned(rates: Rates, places: Mapping[tuple[str, str], Folder], development: str) -> list[dict[str, Any]]:
    """Problem by problem, where both were scored; p-values are corrected for the number of test benchmarks.

    Args:
        places: where the evaluations lie whose pass rates these are.
    """
    benchmarks = dict.fromkeys(benchmark for _, benchmark in rates)
    both = [name for name in benchmarks if (BASE, name) in rates and (TUNED, name) in rates]
    results = {name: compare(rates[BASE, name], rates[TUNED, name]) for name in both}
    tests = [name for name in both if name != development]
    corrected = dict(zip(tests, holm([results[name].p_value for name in tests]), strict=True))
    return [
        {
            "benchmark": name,
            "development": name == development,
            **_shown(results[name]),
            "p_corrected": corrected.get(name, results[name].p_value),
            "gained": sorted(results[name].gained, key=natural),
            "lost": sorted(results[name].lost, key=natural),
            "problems": list(_problems(places[BASE, name], places[TUNED, name])),
        }
        for name in both
    ]


def _shown(result: Comparison) -> dict[str, Any]:
    return {
        "shared": result.shared,
        "difference": result.difference,
        "interval": result.interval,
        "p_value": result.p_value,
        "test": result.test,
        "problems_needed": result.problems_needed,
    }


def _problems(base: Folder, tuned: Folder) -> Iterator[dict[str, Any]]:
    """The first sample of the problems that are shown: prompt, raw answer, program, verdict."""
    statuses = {role: _statuses(place) for role, place in (("base", base), ("tuned", tuned))}
    tasks: dict[str, list[str]] = {kind: [] for kind in PROBLEMS_SHOWN}
    for task in sorted(statuses["base"].keys() & statuses["tuned"].keys(), key=natural):
        passed = statuses["base"][task] == "passed", statuses["tuned"][task] == "passed"
        tasks[{(False, True): "gained", (True, False): "lost", (True, True): "both"}.get(passed, "neither")].append(task)
    chosen = {task: kind for kind, most in PROBLEMS_SHOWN.items() for task in tasks[kind][:most]}
    sides = {"base": _first_samples(base, chosen), "tuned": _first_samples(tuned, chosen)}
    for task, kind in chosen.items():
        yield {"task_id": task, "kind": kind, "of": len(tasks[kind]), **{role: side[task] for role, side in sides.items()}}


def _statuses(place: Folder) -> dict[str, str]:
    rows = read_rows(place, "verdicts.arrow", ["task_id", "sample", "status"])
    return {row["task_id"]: row["status"] for row in rows if row["sample"] == 0}


def _first_samples(place: Folder, tasks: Collection[str]) -> dict[str, dict[str, str]]:
    problems: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for file, wanted in (("verdicts.arrow", ["status", "detail", "program"]), ("completions.arrow", ["prompt", "answer"])):
        for row in read_rows(place, file, ["task_id", "sample", *wanted]):
            if row["sample"] == 0 and row["task_id"] in tasks:
                problems[row["task_id"]] |= {key: shortened(row[key], _LONGEST_SHOWN) for key in wanted}
    return problems


def against_base(rates: Rates, models: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Each model against the base model on the same problems, by model; p-values corrected for all of these comparisons."""
    found = [
        (model, benchmark, compare(rates[BASE, benchmark], passed))
        for (model, benchmark), passed in rates.items()
        if model in models and (BASE, benchmark) in rates
    ]
    corrected = holm([result.p_value for _, _, result in found])
    against: dict[str, list[dict[str, Any]]] = {model: [] for model in models}
    for (model, benchmark, result), p_value in zip(found, corrected, strict=True):
        flips = {"gained": len(result.gained), "lost": len(result.lost)}
        against[model].append({"benchmark": benchmark, **_shown(result), **flips, "p_corrected": p_value})
    return against


def against_seeds_alone(rates: Rates, variants: Mapping[str, Variant], seed: int) -> list[dict[str, Any]]:
    """Each model of rounds 0 to k, k > 0, against that of the seeds alone, both trained under ``seed``.

    p-values are corrected for the number of rounds, within a benchmark.
    """
    by_benchmark: defaultdict[str, dict[int, Mapping[str, float]]] = defaultdict(dict)
    for (model, benchmark), passed in rates.items():
        variant = variants.get(model)
        if variant and variant.from_the_start and variant.seed == seed and not variant.leave_out and not variant.matched:
            by_benchmark[benchmark][variant.rounds[-1]] = passed
    found: list[dict[str, Any]] = []
    for benchmark, by_round in by_benchmark.items():
        first = by_round.pop(0, None)
        if first is None:
            continue
        later = {number: compare(first, passed) for number, passed in sorted(by_round.items())}
        corrected = holm([result.p_value for result in later.values()])
        for (number, result), p_value in zip(later.items(), corrected, strict=True):
            found.append({"benchmark": benchmark, "round": number, **_shown(result), "p_corrected": p_value})
    return found


def seeds_together(rates: Rates, variants: Mapping[str, Variant]) -> list[dict[str, Any]]:
    """What learned from the same rows under several seeds: pass@1 over problems and seeds, and against the seeds alone.

    ``against_seeds`` is the difference to the models of rounds 0 to 0, where these were trained under several seeds too; its
    p-values are corrected for the number of these. A single problem has no spread, and is left out.
    """
    by_rows: defaultdict[tuple[str, str], list[Mapping[str, float]]] = defaultdict(list)
    for (model, benchmark), passed in rates.items():
        if model in variants:
            by_rows[variants[model].label, benchmark].append(passed)
    found: list[dict[str, Any]] = []
    for (label, benchmark), several in by_rows.items():
        first = by_rows.get((up_to(0).label, benchmark), [])
        if len(several) > 1 and min(map(len, several)) > 1:
            spread = asdict(over_seeds(several))
            more = asdict(compare_over_seeds(first, several)) if len(first) > 1 and first is not several else None
            found.append({"label": label, "benchmark": benchmark, "seeds": len(several), **spread, "against_seeds": more})
    compared: list[dict[str, Any]] = [one["against_seeds"] for one in found if one["against_seeds"]]
    for more, p_corrected in zip(compared, holm([one["p_value"] for one in compared]), strict=True):
        more["p_corrected"] = p_corrected
    return found


def variant_rows(
    trainings: Mapping[str, tuple[RunStage, Manifest]], against: Mapping[str, list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Each model that was trained: on what, and how it does against the base model."""
    rows = []
    for model, (entry, manifest) in trainings.items():
        assert entry.variant is not None, "every training is of a variant"
        last = entry.variant.rounds[-1] if entry.variant.from_the_start and not entry.variant.leave_out else None
        described = {"model": model, "label": entry.variant.label, "seed": entry.variant.seed, "rounds_from_the_start": last}
        counted = {key: manifest.summary[key] for key in ("rows", "tokens", "steps", "last_loss", "seconds")}
        rows.append(
            {**described, **counted, "evidence": f"train/{entry.variant.folder}", "against_base": against.get(model, [])}
        )
    return rows
