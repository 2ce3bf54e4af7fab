"""What each stage took, as far as its files say: tokens, dollars, seconds. What they do not say is None."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow.compute as pc

from evolcoder.evaluate.measurement import COMPLETIONS, VERDICTS
from evolcoder.stages.listing import RunStage
from evolcoder.storage.arrow_files import read_batches
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Manifest
from evolcoder.study.evidence.findings import told


def stage_costs(made: Sequence[tuple[RunStage, Manifest]], root: Folder) -> list[dict[str, Any]]:
    """One entry for each finished stage, in the order of the run; one alone for the run's own model and that of the round which
    Evol Stop took, for they are the same.
    """
    first: dict[str, tuple[RunStage, Manifest]] = {}
    for entry, manifest in made:
        first.setdefault(entry.stage.folder.path, (entry, manifest))
    return [
        {
            "stage": entry.label,
            "kind": entry.kind,
            "finished_at": manifest.created_at,
            "evidence": entry.stage.folder.path.removeprefix(root.path + "/"),
            **_cost(entry, manifest),
        }
        for entry, manifest in first.values()
    ]


def _cost(entry: RunStage, manifest: Manifest) -> dict[str, Any]:
    """``seconds`` are those that the command which ended a round spent on it, those of a training's steps, or the CPU time of
    the programs that an evaluation ran.
    """
    cost: dict[str, Any] = {"seconds": None, "prompt_tokens": None, "completion_tokens": None, "usd": None}
    made = manifest.summary
    if entry.kind == "round":
        tokens = {key: made.get(key, 0) for key in ("prompt_tokens", "completion_tokens")}
        # Without a price a summary says 0 dollars of any number of tokens, which is not what they cost.
        usd = made.get("usd") if made.get("usd") or not any(tokens.values()) else None
        return {**cost, **tokens, "usd": usd, "seconds": made.get("seconds")}
    if entry.kind == "train":
        return {**cost, "seconds": made.get("seconds")}
    if entry.kind == "evaluate":
        tokens = _sums(entry.stage.folder, COMPLETIONS, ("prompt_tokens", "completion_tokens"))
        return {**cost, **tokens, "seconds": round(_sums(entry.stage.folder, VERDICTS, ("cpu_seconds",))["cpu_seconds"], 1)}
    return cost


def _sums(folder: Folder, file: str, columns: Sequence[str]) -> dict[str, Any]:
    sums = dict.fromkeys(columns, 0)
    for batch in read_batches(folder, file, columns):
        for name in columns:
            sums[name] += pc.sum(batch[name]).as_py() or 0
    return sums


def total_costs(costs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``usd`` is None where some round's teacher had no price; by kind, what no stage records is None too."""
    by_kind: dict[str, dict[str, Any]] = {}
    for kind in dict.fromkeys(cost["kind"] for cost in costs):
        of_kind = [cost for cost in costs if cost["kind"] == kind]
        sums: dict[str, Any] = {"kind": kind, "stages": len(of_kind)}
        for key in ("prompt_tokens", "completion_tokens", "seconds", "usd"):
            known = [cost[key] for cost in of_kind if cost[key] is not None]
            complete = len(known) == len(of_kind)
            sums[key] = sum(known) if complete or (known and key != "usd") else None
        by_kind[kind] = sums
    rounds = by_kind.get("round", {"usd": 0, "prompt_tokens": 0, "completion_tokens": 0})
    trainings = by_kind.get("train", {"stages": 0, "seconds": 0})
    finished = sorted(cost["finished_at"] for cost in costs) or [None]
    return {
        "by_kind": list(by_kind.values()),
        "teacher_tokens": rounds["prompt_tokens"] + rounds["completion_tokens"],
        "usd": rounds["usd"],
        "training_seconds": trainings["seconds"] or 0,
        "trainings": trainings["stages"],
        "first_finished_at": finished[0],
        "last_finished_at": finished[-1],
    }


def per_point(
    totals: Mapping[str, Any], training_seconds: float | None, comparisons: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What a point of pass@1 cost on each test benchmark on which a gain of the tuned model can be told.

    It is the teacher's cost of all rounds, and the training of the run's own model, over the points gained.
    """
    return [
        {
            "benchmark": c["benchmark"],
            "points": (points := 100 * c["difference"]),
            "usd": totals["usd"] / points if totals["usd"] else None,
            "teacher_tokens": totals["teacher_tokens"] / points,
            "training_seconds": None if training_seconds is None else training_seconds / points,
        }
        for c in comparisons
        if not c["development"] and c["difference"] > 0 and told(c)
    ]
