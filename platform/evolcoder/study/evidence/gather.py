"""Reads from a run folder what a report needs, as plain data, so that the same goes into JSON, markdown and HTML.

Makes nothing up: what is not there is listed as missing. Computes no scores.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import takewhile
from operator import itemgetter
from typing import Any

from evolcoder.errors import RunFolderError
from evolcoder.run.evol_stop import DECISIONS_FILE, decided
from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import TUNED, Variant
from evolcoder.settings.run import RunSettings, StudySettings
from evolcoder.settings.section import AUTO
from evolcoder.stages.listing import RunStage, run_stages
from evolcoder.stages.progress import stage_status
from evolcoder.storage.folders import Folder
from evolcoder.storage.hashes import stable_hash
from evolcoder.storage.stage import Manifest, verified_manifest
from evolcoder.study.compare import pass_rates
from evolcoder.study.evidence.comparisons import (
    Answered,
    against_seeds_alone,
    base_against_tuned,
    seeds_together,
    variant_rows,
)
from evolcoder.study.evidence.costs import per_point, stage_costs, total_costs
from evolcoder.study.evidence.findings import findings
from evolcoder.study.evidence.limits import limits
from evolcoder.study.evidence.rounds import lineages, reading_version, round_evidence
from evolcoder.study.evidence.scores import by_round, differing_rules, own_scores, scores_beside
from evolcoder.study.published import PUBLISHED, PUBLISHED_ROUNDS, PUBLISHED_ROUNDS_SOURCE

EXPLORER = "explore/index.html"
"""Where the explorer's static export lies in a run, when there is one."""
_CURVE_POINTS = 200
"""Of a training's steps, how many a picture shows."""

Evidence = dict[str, Any]


def gather(settings: RunSettings, run: RunFolder) -> Evidence:
    """Everything a report says, as plain data, from the stages that are finished.

    Raises:
        RunFolderError: the files of a round or an evaluation are not what its manifest says.
        DataError: programs of an evaluation could not be run, or there is nothing to show beside.
    """
    found = [(entry, entry.stage.manifest()) for entry in run_stages(settings, run) if entry.kind != "report"]
    made = [(entry, manifest) for entry, manifest in found if manifest is not None]
    # A round after a gap was made from another round than the one that is missing.
    rounds = [
        (entry.stage.folder, manifest)
        for entry, _ in takewhile(itemgetter(1), (pair for pair in found if pair[0].kind == "round"))
        if (manifest := verified_manifest(entry.stage.folder)) is not None
    ]
    evaluations = [entry for entry, _ in made if entry.kind == "evaluate" and verified_manifest(entry.stage.folder)]
    development = settings.study.development
    scores = own_scores(evaluations, development)
    answered = {
        (entry.model, entry.benchmark): Answered(pass_rates(entry.stage.folder), score["samples"], entry.stage.folder)
        for entry, score in zip(evaluations, scores, strict=True)
    }
    trainings = {entry.model: (entry, manifest) for entry, manifest in made if entry.kind == "train"}
    variants = {model: entry.variant for model, (entry, _) in trainings.items() if entry.variant is not None}
    trained = _once([(model,) for model in sorted(variants, key=lambda model: model != TUNED)], variants)
    once = _once(answered, variants)
    beside = [found for place in settings.study.beside for found in scores_beside(place)]
    evaluated = [(entry.benchmark, entry.stage.folder) for entry in evaluations]
    costs = stage_costs(made, run.root)
    totals = total_costs(costs)
    comparisons = base_against_tuned(answered, development)
    summaries = {model: manifest.summary for model, (_, manifest) in trainings.items()}
    dataset = next((manifest for entry, manifest in made if entry.kind == "dataset"), None)
    if dataset is not None:
        check_file(run.dataset, dataset, "README.md")
    evidence: Evidence = {
        "name": settings.name,
        "development": development,
        "explorer": run.root.exists(EXPLORER),
        "missing": _missing(settings, run, [entry for entry, _ in found]),
        "scores": scores + [score for score, _ in beside],
        "comparisons": comparisons,
        "by_round": by_round([score for score in scores if (score["role"], score["benchmark"]) in once], variants),
        "against_seeds": against_seeds_alone(answered, variants, settings.train.seed),
        "stopping": _stopping(settings, run),
        "published": [{**asdict(p), "model": f"{p.model} {p.size}".strip()} for p in PUBLISHED],
        "published_rounds": {"source": PUBLISHED_ROUNDS_SOURCE, "rounds": list(PUBLISHED_ROUNDS)},
        "rounds": _rounds(rounds, run.report),
        "dataset": dataset.summary if dataset is not None else None,
        "trainings": [_training(model, variants[model], *trainings[model]) for (model,) in trained],
        "variants": variant_rows(summaries, variants, answered) if settings.study.several_models else [],
        "over_seeds": seeds_together({key: one.rates for key, one in answered.items() if key in once}, variants),
        "costs": costs,
        "cost_totals": totals,
        "cost_per_point": per_point(totals, summaries.get(TUNED, {}).get("seconds"), comparisons),
        "differing_rules": differing_rules(evaluated + [(score["benchmark"], place) for score, place in beside]),
        "lineages": lineages([folder for folder, _ in rounds]),
        "settings": settings.model_dump(mode="json", exclude=None if settings.study != StudySettings() else {"study"}),
    }
    evidence["limits"] = limits(evidence)
    evidence["findings"] = findings(evidence)
    return evidence


def _once(names: Iterable[tuple[str, ...]], variants: Mapping[str, Variant]) -> list[tuple[str, ...]]:
    """Of names that begin with a model the first of each: Evol Stop's model of the round that it took is the run's own under
    another name, and counts as no second training.
    """
    first: dict[tuple[str, ...], tuple[str, ...]] = {}
    for model, *rest in names:
        first.setdefault((variants[model].folder if model in variants else model, *rest), (model, *rest))
    return list(first.values())


def _missing(settings: RunSettings, run: RunFolder, found: Sequence[RunStage]) -> list[dict[str, str]]:
    """What is to be made, or to be made again, before the run is what its settings ask for."""
    states = [(entry, stage_status(entry)) for entry in found]
    missing = [{"stage": entry.label, "state": state.text} for entry, state in states if not state.done]
    if settings.evolve.rounds == AUTO and not decided(settings, run).ended:
        missing.append({"stage": "what follows from Evol Stop", "state": "it has not ended"})
    return missing


def _rounds(rounds: Sequence[tuple[Folder, Manifest]], report: Folder) -> list[Evidence]:
    """What is told of each round. Rows that the last report read are not read again: 100,000 take most of a minute."""
    known: dict[str, Evidence] = {}
    try:
        if verified_manifest(report) is not None:
            known = {one["read"]: one for one in json.loads(report.read_text("report.json"))["rounds"]}
    except (RunFolderError, KeyError):
        pass  # a report that is not what it was, or of a version that told less, is no source
    found = []
    for number, (folder, manifest) in enumerate(rounds):
        read = stable_hash(manifest.content_hash, reading_version())
        one = known.get(read) or {**round_evidence(folder), "read": read}
        found.append({**one, "round": number, "summary": manifest.summary})
    return found


def _stopping(settings: RunSettings, run: RunFolder) -> Evidence | None:
    """Evol Stop's rule, development set and decisions: those that still count, where it is to decide."""
    if verified_manifest(run.evol_stop) is None:
        return None
    recorded: Evidence = json.loads(run.evol_stop.read_text(DECISIONS_FILE))
    if settings.evolve.rounds == AUTO:
        recorded["decisions"] = list(decided(settings, run).decisions)
    return recorded if recorded["decisions"] else None


def check_file(folder: Folder, manifest: Manifest, name: str) -> None:
    """See that one file of a stage is as it was, where all of them (a model's weights) would take long.

    Raises:
        RunFolderError: it is not.
    """
    damage = manifest.model_copy(update={"files": [file for file in manifest.files if file.path == name]}).damage(folder)
    if damage is not None:
        raise RunFolderError(f"{folder} is damaged: {damage}; run the verb that made it again.")


def _training(model: str, variant: Variant, entry: RunStage, manifest: Manifest) -> Evidence:
    """The summary, and the loss by step: of a long training every n-th, and the last."""
    check_file(entry.stage.folder, manifest, "metrics.jsonl")
    lines = entry.stage.folder.read_text("metrics.jsonl").splitlines()
    every = -(-len(lines) // _CURVE_POINTS) or 1
    shown = [json.loads(line) for line in (*lines[:-1:every], *lines[-1:])]
    return {
        "model": model,
        "label": variant.label,
        "evidence": f"train/{variant.folder}",
        "summary": manifest.summary,
        "steps": [{"step": step["step"], "loss": step["loss"]} for step in shown],
    }
