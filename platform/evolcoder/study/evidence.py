"""Reads from a run folder what a report needs: scores, verdicts, rounds, training. Makes nothing up: what is not there is
left out. Plain data out, so that the same goes into JSON, markdown and HTML."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from operator import itemgetter
from statistics import fmean, stdev
from typing import Any

from evolcoder.errors import DataError
from evolcoder.runs import RunFolder
from evolcoder.settings.run import RunSettings, StudySettings
from evolcoder.stages import RunStage, run_stages
from evolcoder.storage.arrow_files import read_rows
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Manifest, verified_manifest
from evolcoder.study.compare import compare, natural, pass_rates
from evolcoder.study.published import PUBLISHED
from evolcoder.study.statistics import holm
from evolcoder.variants import BASE, TUNED

LINEAGES = 6
"""How many seeds are followed through the rounds in the report."""

Evidence = dict[str, Any]


def gather(settings: RunSettings, run: RunFolder) -> Evidence:
    """Everything a report says, as plain data, from the stages that are finished.

    Raises:
        RunFolderError: the files of an evaluation are not what its manifest says.
    """
    found = [(entry, entry.stage.manifest()) for entry in run_stages(settings, run)]
    made = [(entry, manifest) for entry, manifest in found if manifest is not None]
    # The rounds come first; one after a gap was made from another round than the one that is missing.
    rounds = [
        (entry.stage.folder, manifest)
        for entry, manifest in takewhile(itemgetter(1), found)
        if entry.kind == "round" and manifest
    ]
    evaluations = [entry for entry, _ in made if entry.kind == "evaluate" and verified_manifest(entry.stage.folder)]
    trainings = {entry.model: (entry, manifest) for entry, manifest in made if entry.kind == "train"}
    # What is of a study is left out where there is none: a report of that time still says what it would say today.
    scores = [{"role": entry.model, **json.loads(entry.stage.folder.read_text("score.json"))} for entry in evaluations]
    study: Evidence = {}
    if settings.study.several_models:
        study = {"variants": _variants(trainings, evaluations), "over_seeds": _over_seeds(trainings, scores)}
    return {
        "name": settings.name,
        "scores": scores + [score for place in settings.study.beside for score in _beside(place)],
        "comparisons": list(_comparisons(evaluations)),
        "published": [{"model": f"{p.model} {p.size}".strip(), "humaneval": p.humaneval, "mbpp": p.mbpp} for p in PUBLISHED],
        "rounds": [_round(number, folder, manifest.summary) for number, (folder, manifest) in enumerate(rounds)],
        "dataset": next((manifest.summary for entry, manifest in made if entry.kind == "dataset"), None),
        "training": _training(*trainings[TUNED]) if TUNED in trainings else None,
        "lineages": _lineages([folder for folder, _ in rounds]),
        "settings": settings.model_dump(mode="json", exclude=None if settings.study != StudySettings() else {"study"}),
        **study,
    }


def _beside(place: str) -> Iterator[Evidence]:
    """The finished scores below a folder: of another run, or of one evaluation.

    Raises:
        DataError: there is none.
    """
    folder = Folder.open(place)
    name = folder.path.rstrip("/").rpartition("/")[2]
    folders = {name: folder}
    if not folder.exists("score.json"):
        files = (folder / "evaluate").names("*/*/score.json", recursive=True)
        folders = {
            f"{name}/{file.removesuffix('/score.json')}": folder / "evaluate" / file.removesuffix("/score.json")
            for file in files
        }
    finished = {label: one for label, one in folders.items() if verified_manifest(one) is not None}
    for label, one in finished.items():
        yield {**json.loads(one.read_text("score.json")), "role": f"beside: {label}"}
    if not finished:
        raise DataError(
            f"study.beside names {place}, which holds no finished evaluation; name the folder of a run or of a score."
        )


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
    problems: defaultdict[str, Evidence] = defaultdict(dict)
    for file, wanted in (("verdicts.arrow", ["status", "detail", "program"]), ("completions.arrow", ["prompt", "answer"])):
        for row in read_rows(place, file, ["task_id", "sample", *wanted]):
            if row["sample"] == 0:
                problems[row["task_id"]] |= {key: row[key] for key in wanted}
    return problems


def _round(number: int, folder: Folder, summary: Evidence) -> Evidence:
    operators: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    kept_by_operator: Counter[str] = Counter()
    for row in read_rows(folder, "*.arrow", ["operator", "status", "reason"]):
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
        "summary": summary,
    }


def _training(entry: RunStage, manifest: Manifest) -> Evidence:
    lines = entry.stage.folder.read_text("metrics.jsonl").splitlines()
    return {"summary": manifest.summary, "steps": [json.loads(line) for line in lines]}


def _variants(trainings: Mapping[str, tuple[RunStage, Manifest]], evaluations: Sequence[RunStage]) -> list[Evidence]:
    """Each model that was trained: on what, and how it does against the base model on the same problems.

    The p-values of all comparisons are corrected for their number by Holm's method.
    """
    places = {(entry.model, entry.benchmark): entry.stage.folder for entry in evaluations}
    found = []
    for (model, benchmark), place in places.items():
        if model in trainings and (BASE, benchmark) in places:
            found.append((model, benchmark, compare(pass_rates(places[BASE, benchmark]), pass_rates(place))))
    corrected = holm([result.p_value for _, _, result in found])
    against: defaultdict[str, list[Evidence]] = defaultdict(list)
    for (model, benchmark, result), p_value in zip(found, corrected, strict=True):
        shown = {"benchmark": benchmark, "difference": result.difference, "p_corrected": p_value}
        flips = {"gained": len(result.gained), "lost": len(result.lost), "problems_needed": result.problems_needed}
        against[model].append(shown | flips)
    variants = []
    for model, (entry, manifest) in trainings.items():
        assert entry.variant is not None, "every training is of a variant"
        last = entry.variant.rounds[-1] if entry.variant.from_the_start and not entry.variant.leave_out else None
        described = {"model": model, "label": entry.variant.label, "seed": entry.variant.seed, "rounds_from_the_start": last}
        counted = {key: manifest.summary[key] for key in ("rows", "tokens", "steps", "last_loss", "seconds")}
        variants.append({**described, **counted, "against_base": against[model]})
    return variants


def _over_seeds(trainings: Mapping[str, tuple[RunStage, Manifest]], scores: Sequence[Evidence]) -> list[Evidence]:
    """The scores of models that learned from the same rows under several seeds: how much the seed alone does."""
    by_rows: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for score in scores:
        entry, _ = trainings.get(score["role"], (None, None))
        if entry is not None and entry.variant is not None and score["k"] == 1:
            by_rows[entry.variant.label, score["benchmark"]].append(score["value"])
    return [
        {"label": label, "benchmark": benchmark, "seeds": len(values), "mean": fmean(values), "deviation": stdev(values)}
        for (label, benchmark), values in by_rows.items()
        if len(values) > 1
    ]


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
