"""The finished scores of a run, and of others that stand beside them: what was measured, of whom, and under which settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from evolcoder.errors import DataError
from evolcoder.run.variants import Variant
from evolcoder.stages.listing import RunStage
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import verified_manifest
from evolcoder.study.rules import different_rules

BESIDE = "beside: "
"""Begins the role of a score of another run."""

CUMULATIVE, ALONE = "rounds 0 to k", "round k alone"
"""What the models that show the effect of a round are trained on."""


def own_scores(evaluations: Sequence[RunStage], development: str) -> list[dict[str, Any]]:
    """What ``score.json`` says, with the role of its model and the place of its evidence within the run."""
    return [
        {
            "role": entry.model,
            "development": entry.benchmark == development,
            "evidence": f"evaluate/{entry.model}/{entry.benchmark}",
            **json.loads(entry.stage.folder.read_text("score.json")),
        }
        for entry in evaluations
    ]


def scores_beside(place: str) -> Iterator[tuple[dict[str, Any], Folder]]:
    """The finished scores below a folder, of another run or of one evaluation, with where they lie.

    Raises:
        DataError: there is none.
    """
    folder = Folder.open(place)
    name = folder.path.rstrip("/").rpartition("/")[2]
    folders = {name: folder}
    if not folder.exists("score.json"):
        files = (folder / "evaluate").names("*/*/score.json", recursive=True)
        scored = [file.removesuffix("/score.json") for file in files]
        folders = {f"{name}/{one}": folder / "evaluate" / one for one in scored}
    finished = {label: one for label, one in folders.items() if verified_manifest(one) is not None}
    for label, one in finished.items():
        yield {**json.loads(one.read_text("score.json")), "role": BESIDE + label, "development": False}, one
    if not finished:
        raise DataError(
            f"study.beside names {place}, which holds no finished evaluation; name the folder of a run or of a score."
        )


def by_round(scores: Iterable[Mapping[str, Any]], variants: Mapping[str, Variant]) -> list[dict[str, Any]]:
    """pass@1 of the models that show what a round does: trained on rounds 0 to k, or on one round alone."""
    found: list[dict[str, Any]] = []
    for score in scores:
        variant = variants.get(score["role"])
        if variant and not variant.leave_out and score["k"] == 1 and (variant.from_the_start or len(variant.rounds) == 1):
            entry = {key: score[key] for key in ("benchmark", "development", "value", "interval", "evidence")}
            kind = CUMULATIVE if variant.from_the_start and not variant.matched else ALONE
            trained = {"kind": kind, "round": variant.rounds[-1], "matched": variant.matched, "seed": variant.seed}
            found.append({**entry, "model": score["role"], **trained})
    alone = {(entry["benchmark"], entry["seed"]) for entry in found if entry["kind"] == ALONE and not entry["matched"]}
    seeds = [entry for entry in found if entry["kind"] == CUMULATIVE and entry["round"] == 0]
    # The model of the seeds is that of rounds 0 to 0, and that of round 0 alone.
    return found + [{**entry, "kind": ALONE} for entry in seeds if (entry["benchmark"], entry["seed"]) in alone]


def differing_rules(places: Sequence[tuple[str, Folder]]) -> dict[str, list[str]]:
    """For each benchmark in what its evaluations differ from the first of them, as ``name: one against other``.

    Args:
        places: benchmarks and folders of finished evaluations.
    """
    found: dict[str, list[str]] = {}
    first: dict[str, Folder] = {}
    for benchmark, place in places:
        rules = different_rules(first.setdefault(benchmark, place), place)
        found.setdefault(benchmark, []).extend(rule for rule in rules if rule not in found[benchmark])
    return {benchmark: rules for benchmark, rules in found.items() if rules}
