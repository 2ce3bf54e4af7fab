"""What each stage took, as far as its files say: tokens, dollars, seconds. What they do not say is None."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow.compute as pc

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
        if entry.kind != "report"
    ]


def _cost(entry: RunStage, manifest: Manifest) -> dict[str, Any]:
    """``seconds`` are those that the command which ended a round spent on it, those of a training's steps, or the CPU time of
    the programs that an evaluation ran.
    """
    cost: dict[str, Any] = {"seconds": None, "prompt_tokens": None, "completion_tokens": None, "usd": None}
    if entry.kind == "round":
        made = manifest.summary
        tokens = {key: made.get(key, 0) for key in ("prompt_tokens", "completion_tokens")}
        # Without a price a summary says 0 dollars of any number of tokens, which is not what they cost.
        usd = made.get("usd") if made.get("usd") or not any(tokens.values()) else None
        return {**cost, **tokens, "usd": usd, "seconds": made.get("seconds")}
    if entry.kind == "train":
        return {**cost, "seconds": manifest.summary.get("seconds")}
    if entry.kind == "evaluate":
        folder = entry.stage.folder
        tokens = _sums(folder, "completions.arrow", ("prompt_tokens", "completion_tokens"))
        return {**cost, **tokens, "seconds": round(_sums(folder, "verdicts.arrow", ("cpu_seconds",))["cpu_seconds"], 1)}
    return cost


def _sums(folder: Folder, file: str, columns: Sequence[str]) -> dict[str, Any]:
    sums = dict.fromkeys(columns, 0)
    for batch in read_batches(folder, file, columns):
        for name in columns:
            sums[name] += pc.sum(batch[name]).as_py() or 0
    return sums


def total_costs(costs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """``usd`` is None where some round's teacher had no price."""
    costs = list(costs)
    rounds = [cost for cost in costs if cost["kind"] == "round"]
    dollars = [cost["usd"] for cost in rounds]
    finished = sorted(cost["finished_at"] for cost in costs)
    kinds = dict.fromkeys(cost["kind"] for cost in costs)
    return {
        "by_kind": [_sum_of(kind, [cost for cost in costs if cost["kind"] == kind]) for kind in kinds],
        "teacher_tokens": sum(cost["prompt_tokens"] + cost["completion_tokens"] for cost in rounds),
        "usd": None if None in dollars else sum(dollars),
        "training_seconds": sum(cost["seconds"] or 0 for cost in costs if cost["kind"] == "train"),
        "trainings": sum(cost["kind"] == "train" for cost in costs),
        "first_finished_at": finished[0] if finished else None,
        "last_finished_at": finished[-1] if finished else None,
    }


def _sum_of(kind: str, costs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A number is None where no stage of the kind records it, and dollars where one of them has none."""
    sums: dict[str, Any] = {"kind": kind, "stages": len(costs)}
    for key in ("prompt_tokens", "completion_tokens", "seconds"):
        known = [cost[key] for cost in costs if cost[key] is not None]
        sums[key] = sum(known) if known else None
    dollars = [cost["usd"] for cost in costs]
    return {**sums, "usd": None if None in dollars else sum(dollars)}


def per_point(
    totals: Mapping[str, Any], training_seconds: float | None, comparisons: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What a point of pass@1 cost on each test benchmark on which a gain of the tuned model can be told.

    It is the teacher's cost of all rounds, and the training of the run's own model, over the points gained.
    """
    gains = [c for c in comparisons if not c["development"] and c["difference"] > 0 and told(c)]
    return [
        {
            "benchmark": c["benchmark"],
            "points": (points := 100 * c["difference"]),
            "usd": totals["usd"] / points if totals["usd"] else None,
            "teacher_tokens": totals["teacher_tokens"] / points,
            "training_seconds": None if training_seconds is None else training_seconds / points,
        }
        for c in gains
    ]
