"""Models of a run on the same problems: base against tuned, each model against the base, later rounds against the seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from evolcoder.run.variants import BASE, TUNED, Variant, up_to
from evolcoder.storage.arrow_files import read_rows
from evolcoder.storage.folders import Folder
from evolcoder.study.compare import Comparison, compare, corrected, natural
from evolcoder.study.evidence.rounds import shortened
from evolcoder.study.seeds import compare_over_seeds, over_seeds
from evolcoder.study.statistics import holm

PROBLEMS_SHOWN = {"gained": 20, "lost": 20, "both": 5, "neither": 5}
"""Of each benchmark, how many problems of each kind a report shows with prompt, answer and program."""
_LONGEST_SHOWN = 6_000
_COMPARED = ("shared", "difference", "interval", "p_value", "p_corrected", "test", "problems_needed")


class Answered(NamedTuple):
    """The pass rates of a model on a benchmark, by problem; of how many samples they are; and where the evaluation lies."""

    rates: Mapping[str, float]
    samples: int
    place: Folder


AllAnswered = Mapping[tuple[str, str], Answered]
"""By model and benchmark."""


def base_against_tuned(answered: AllAnswered, development: str) -> list[dict[str, Any]]:
    """Problem by problem, where both were scored; p-values are corrected for the number of test benchmarks."""
    benchmarks = dict.fromkeys(benchmark for _, benchmark in answered)
    pairs = {
        name: (answered[BASE, name], answered[TUNED, name])
        for name in benchmarks
        if (BASE, name) in answered and (TUNED, name) in answered
    }
    results = {name: _compare(*pair) for name, pair in pairs.items()}
    results |= corrected({name: result for name, result in results.items() if name != development})
    return [
        {
            "benchmark": name,
            "development": name == development,
            **_shown(result),
            "gained": sorted(result.gained, key=natural),
            "lost": sorted(result.lost, key=natural),
            "problems": list(_problems(*pairs[name])),
        }
        for name, result in results.items()
    ]


def _compare(first: Answered, second: Answered) -> Comparison:
    return compare(first.rates, second.rates, (first.samples, second.samples))


def _shown(result: Comparison) -> dict[str, Any]:
    return {name: getattr(result, name) for name in _COMPARED}


def _problems(base: Answered, tuned: Answered) -> Iterator[dict[str, Any]]:
    """The first sample of the problems that are shown: prompt, raw answer, program, verdict."""
    sides = {BASE: _first_samples(base.place), TUNED: _first_samples(tuned.place)}
    tasks: dict[str, list[str]] = {kind: [] for kind in PROBLEMS_SHOWN}
    for task in sorted(sides[BASE].keys() & sides[TUNED].keys(), key=natural):
        passed = sides[BASE][task]["status"] == "passed", sides[TUNED][task]["status"] == "passed"
        tasks[{(False, True): "gained", (True, False): "lost", (True, True): "both"}.get(passed, "neither")].append(task)
    for kind, most in PROBLEMS_SHOWN.items():
        for task in tasks[kind][:most]:
            yield {"task_id": task, "kind": kind, "of": len(tasks[kind]), **{role: side[task] for role, side in sides.items()}}


def _first_samples(place: Folder) -> dict[str, dict[str, str]]:
    problems: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for file, wanted in (("verdicts.arrow", ["status", "detail", "program"]), ("completions.arrow", ["prompt", "answer"])):
        for row in read_rows(place, file, ["task_id", "sample", *wanted]):
            if row["sample"] == 0:
                problems[row["task_id"]] |= {key: shortened(row[key], _LONGEST_SHOWN) for key in wanted}
    return problems


def against_seeds_alone(answered: AllAnswered, variants: Mapping[str, Variant], seed: int) -> list[dict[str, Any]]:
    """Each model of rounds 0 to k, k > 0, against that of the seeds alone, both trained under ``seed``.

    p-values are corrected for the number of rounds, within a benchmark.
    """
    by_benchmark: defaultdict[str, dict[int, Answered]] = defaultdict(dict)
    for (model, benchmark), one in answered.items():
        variant = variants.get(model)
        if variant and variant.from_the_start and variant.seed == seed and not variant.leave_out and not variant.matched:
            by_benchmark[benchmark][variant.rounds[-1]] = one
    found: list[dict[str, Any]] = []
    for benchmark, by_round in by_benchmark.items():
        if first := by_round.pop(0, None):
            later = corrected({number: _compare(first, one) for number, one in sorted(by_round.items())})
            found += [{"benchmark": benchmark, "round": number, **_shown(result)} for number, result in later.items()]
    return found


def seeds_together(
    rates: Mapping[tuple[str, str], Mapping[str, float]], variants: Mapping[str, Variant]
) -> list[dict[str, Any]]:
    """What learned from the same rows under several seeds: pass@1 over problems and seeds, and against the seeds alone.

    ``against_seeds`` is the difference to the models of rounds 0 to 0, where these were trained under several seeds too; its
    p-values are corrected for the number of these. A single problem has no spread, and is left out.

    Args:
        rates: by model and benchmark the pass rates by problem.
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
    summaries: Mapping[str, Mapping[str, Any]], variants: Mapping[str, Variant], answered: AllAnswered
) -> list[dict[str, Any]]:
    """Each model that was trained: on what, and how it does against the base model on the same problems; p-values are corrected
    for all of these comparisons.

    Args:
        summaries: of each model's training.
    """
    found = {
        (model, benchmark): _compare(answered[BASE, benchmark], one)
        for (model, benchmark), one in answered.items()
        if model in variants and (BASE, benchmark) in answered
    }
    against: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for (model, benchmark), result in corrected(found).items():
        flips = {"gained": len(result.gained), "lost": len(result.lost)}
        against[model].append({"benchmark": benchmark, **_shown(result), **flips})
    return [
        {
            "model": model,
            "label": variant.label,
            "seed": variant.seed,
            "rounds_from_the_start": variant.rounds[-1] if variant.from_the_start and not variant.leave_out else None,
            **{key: summaries[model][key] for key in ("rows", "tokens", "steps", "last_loss", "seconds")},
            "evidence": f"train/{variant.folder}",
            "against_base": against[model],
        }
        for model, variant in variants.items()
    ]
