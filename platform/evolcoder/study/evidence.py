"""Reads from a run folder what a report needs: scores, verdicts, rounds, training. Makes nothing up: what is not there is
left out. Plain data out, so that the same goes into JSON, markdown and HTML."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from evolcoder.models import data_rounds
from evolcoder.runs import RunFolder
from evolcoder.settings import RunSettings
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import read_manifest
from evolcoder.study.compare import compare, natural, pass_rates
from evolcoder.study.published import PUBLISHED

LINEAGES = 6
"""How many seeds are followed through the rounds in the report."""

Evidence = dict[str, Any]


def gather(settings: RunSettings, run: RunFolder) -> Evidence:
    """Everything a report says, as plain data."""
    scores = [score for model in settings.evaluate.models for score in _scores(settings, run, model)]
    return {
        "name": settings.name,
        "scores": scores,
        "comparisons": list(_comparisons(settings, run)),
        "published": [{"model": f"{p.model} {p.size}".strip(), "humaneval": p.humaneval, "mbpp": p.mbpp} for p in PUBLISHED],
        "rounds": [r for number in range(settings.evolve.rounds + 1) if (r := _round(run, number)) is not None],
        "dataset": _dataset(run),
        "training": _training(settings, run),
        "lineages": _lineages(settings, run),
        "settings": settings.model_dump(mode="json"),
    }


def _scores(settings: RunSettings, run: RunFolder, model: str) -> Iterator[Evidence]:
    for benchmark in settings.evaluate.benchmarks:
        place = run.evaluation(model, benchmark)
        if read_manifest(place) is not None:
            yield {"role": model, **json.loads(place.read_text("score.json"))}


def _comparisons(settings: RunSettings, run: RunFolder) -> Iterator[Evidence]:
    """Base against tuned, problem by problem, where both were scored."""
    for benchmark in settings.evaluate.benchmarks:
        places = [run.evaluation(model, benchmark) for model in ("base", "tuned")]
        if any(read_manifest(place) is None for place in places):
            continue
        base, tuned = (_problems(place) for place in places)
        result = compare(*(pass_rates(place) for place in places))
        yield {
            "benchmark": benchmark,
            "shared": result.shared,
            "gained": sorted(result.gained, key=natural),
            "lost": sorted(result.lost, key=natural),
            "p_value": result.p_value,
            "test": result.test,
            "problems": [
                {"task_id": task, "base": base[task], "tuned": tuned[task]}
                for task in sorted(base.keys() & tuned.keys(), key=natural)
            ],
        }


def _problems(place: Folder) -> dict[str, Evidence]:
    """The first sample of each problem: prompt, raw answer, program, verdict."""
    answers = {(row["task_id"], row["sample"]): row for row in read_rows(place, "completions.arrow")}
    problems = {}
    for verdict in read_rows(place, "verdicts.arrow"):
        if verdict["sample"] == 0:
            answer = answers[verdict["task_id"], 0]
            problems[verdict["task_id"]] = {
                "status": verdict["status"],
                "detail": verdict["detail"],
                "program": verdict["program"],
                "prompt": answer["prompt"],
                "answer": answer["answer"],
            }
    return problems


def _round(run: RunFolder, number: int) -> Evidence | None:
    place = run.round(number)
    manifest = read_manifest(place)
    if manifest is None:
        return None
    operators: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    kept_by_operator: Counter[str] = Counter()
    for row in read_rows(place, "*.arrow", columns=["operator", "status", "reason"]):
        operators[row["operator"]] += 1
        if row["status"] == "kept":
            kept_by_operator[row["operator"]] += 1
        else:
            reasons[row["reason"]] += 1
    return {
        "round": number,
        "rows": operators.total(),
        "kept": kept_by_operator.total(),
        "operators": [{"operator": name, "rows": n, "kept": kept_by_operator[name]} for name, n in sorted(operators.items())],
        "eliminated": dict(sorted(reasons.items())),
        "summary": manifest.summary,
    }


def _dataset(run: RunFolder) -> Evidence | None:
    manifest = read_manifest(run.dataset)
    return None if manifest is None else manifest.summary


def _training(settings: RunSettings, run: RunFolder) -> Evidence | None:
    place = run.train(data_rounds(settings))
    manifest = read_manifest(place)
    if manifest is None:
        return None
    steps = [json.loads(line) for line in place.read_text("metrics.jsonl").splitlines()]
    return {"summary": manifest.summary, "steps": steps}


def _lineages(settings: RunSettings, run: RunFolder) -> list[list[Evidence]]:
    """The first few seeds, each with what the rounds made of it, eliminated tries included."""
    by_root: dict[str, list[Evidence]] = {}
    for number in range(settings.evolve.rounds + 1):
        if read_manifest(run.round(number)) is None:
            break
        for row in read_rows(run.round(number), "*.arrow"):
            if number == 0 and len(by_root) < LINEAGES:
                by_root[row["root_id"]] = []
            if row["root_id"] in by_root:
                wanted = ("round", "operator", "instruction", "input", "response", "status", "reason")
                by_root[row["root_id"]].append({key: row[key] for key in wanted})
    return list(by_root.values())


def read_rows(folder: Folder, pattern: str, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of the Arrow IPC files that match, one batch in memory at a time."""
    for name in folder.names(pattern):
        with folder.open_input(name) as source:
            reader = pa.ipc.open_file(source)
            for index in range(reader.num_record_batches):
                batch = reader.get_batch(index)
                yield from (batch if columns is None else batch.select(columns)).to_pylist()
