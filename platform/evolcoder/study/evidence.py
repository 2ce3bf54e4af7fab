"""Reads from a run folder what a report needs: scores, verdicts, rounds, training. Makes nothing up: what is not there is
left out. Plain data out, so that the same goes into JSON, markdown and HTML."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

from evolcoder.models import BASE, TUNED
from evolcoder.runs import RunFolder
from evolcoder.settings import RunSettings
from evolcoder.stages import RunStage, run_stages
from evolcoder.storage.arrow_files import read_rows
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Manifest, Stage, verified_manifest
from evolcoder.study.compare import compare, natural, pass_rates
from evolcoder.study.published import PUBLISHED

LINEAGES = 6
"""How many seeds are followed through the rounds in the report."""

Evidence = dict[str, Any]


def gather(settings: RunSettings, run: RunFolder) -> Evidence:
    """Everything a report says, as plain data, from the stages that are finished.

    Raises:
        RunFolderError: the files of an evaluation are not what its manifest says.
    """
    stages = run_stages(settings, run)
    rounds = list(takewhile(lambda stage: stage.manifest() is not None, (s.stage for s in stages if s.kind == "round")))
    finished = [entry for entry in stages if entry.stage.manifest() is not None]
    evaluations = [entry for entry in finished if entry.kind == "evaluate" and verified_manifest(entry.stage.folder)]
    return {
        "name": settings.name,
        "scores": [{"role": entry.model, **json.loads(entry.stage.folder.read_text("score.json"))} for entry in evaluations],
        "comparisons": list(_comparisons(evaluations)),
        "published": [{"model": f"{p.model} {p.size}".strip(), "humaneval": p.humaneval, "mbpp": p.mbpp} for p in PUBLISHED],
        "rounds": [_round(number, stage) for number, stage in enumerate(rounds)],
        "dataset": next((_manifest(entry.stage).summary for entry in finished if entry.kind == "dataset"), None),
        "training": next((_training(entry.stage) for entry in finished if entry.kind == "train"), None),
        "lineages": _lineages([stage.folder for stage in rounds]),
        "settings": settings.model_dump(mode="json"),
    }


def _manifest(stage: Stage) -> Manifest:
    manifest = stage.manifest()
    assert manifest is not None, "only finished stages are gathered"
    return manifest


def _comparisons(evaluations: Sequence[RunStage]) -> Iterator[Evidence]:
    """Base against tuned, problem by problem, where both were scored."""
    places = {(entry.benchmark, entry.model): entry.stage.folder for entry in evaluations}
    for benchmark in dict.fromkeys(entry.benchmark for entry in evaluations):
        pair = [places.get((benchmark, model)) for model in (BASE, TUNED)]
        if pair[0] is None or pair[1] is None:
            continue
        base, tuned = _problems(pair[0]), _problems(pair[1])
        result = compare(pass_rates(pair[0]), pass_rates(pair[1]))
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


def _round(number: int, stage: Stage) -> Evidence:
    operators: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    kept_by_operator: Counter[str] = Counter()
    for row in read_rows(stage.folder, "*.arrow", ["operator", "status", "reason"]):
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
        "summary": _manifest(stage).summary,
    }


def _training(stage: Stage) -> Evidence:
    steps = [json.loads(line) for line in stage.folder.read_text("metrics.jsonl").splitlines()]
    return {"summary": _manifest(stage).summary, "steps": steps}


def _lineages(rounds: Sequence[Folder]) -> list[list[Evidence]]:
    """The first few seeds, each with what the rounds made of it, eliminated tries included."""
    by_root: dict[str, list[Evidence]] = {}
    for number, folder in enumerate(rounds):
        for row in read_rows(folder, "*.arrow"):
            if number == 0 and len(by_root) < LINEAGES:
                by_root[row["root_id"]] = []
            if row["root_id"] in by_root:
                wanted = ("round", "operator", "instruction", "input", "response", "status", "reason")
                by_root[row["root_id"]].append({key: row[key] for key in wanted})
    return list(by_root.values())
