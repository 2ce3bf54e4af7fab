"""Writes what models answered to a benchmark: one shard for each problem and model, and a list of the verdicts."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from evolcoder.errors import RunFolderError
from evolcoder.evaluate.measurement import COMPLETIONS, VERDICTS
from evolcoder.explore.shards import Shards
from evolcoder.storage.arrow_files import read_table
from evolcoder.storage.folders import Folder
from evolcoder.study.compare import natural


def write_benchmark(number: int, name: str, places: Mapping[str, Folder], shards: Shards) -> dict[str, Any]:
    """Write the evaluations of one benchmark, and return what the pages need to know of them.

    Args:
        number: under which the shards go, for no name of a run is part of a path.
        places: the evaluation of each model.

    Raises:
        RunFolderError: answers and verdicts of an evaluation do not belong together.
    """
    found = {model: _rows_by_task(place) for model, place in places.items()}
    tasks = sorted({task for rows in found.values() for task in rows}, key=natural)
    models, listed = [], []
    for index, (model, place) in enumerate(places.items()):
        listed.append(_write_model(f"problems/{number}/{index}", place, found[model], tasks, shards))
        score = json.loads(place.read_text("score.json"))
        wanted = ("model", "value", "interval", "interval_method", "k", "samples", "tasks", "style", "benchmark_version")
        models.append({"name": model, **{key: score[key] for key in wanted}})
    shards.put(f"problems/{number}/list", {"tasks": tasks, "models": listed})
    return {"name": name, "tasks": len(tasks), "models": models}


def _rows_by_task(place: Folder) -> dict[str, list[int]]:
    """Where each problem's samples stand, in their order."""
    answered, judged = (read_table(place, name).select(["task_id", "sample"]) for name in (COMPLETIONS, VERDICTS))
    if not answered.equals(judged):
        raise RunFolderError(f"The answers and the verdicts in {place} are not of the same questions; evaluate it again.")
    found: defaultdict[str, list[int]] = defaultdict(list)
    for row, task in enumerate(answered.column("task_id").to_pylist()):
        found[task].append(row)
    return found


def _write_model(
    prefix: str, place: Folder, rows: Mapping[str, Sequence[int]], tasks: Sequence[str], shards: Shards
) -> list[list[Any] | None]:
    """One shard for each problem. Returns for each: samples that passed, samples, the first one's verdict; None: not asked."""
    tables = [read_table(place, name).drop_columns(["task_id"]) for name in (COMPLETIONS, VERDICTS)]
    listed: list[list[Any] | None] = []
    for index, task in enumerate(tasks):
        if task not in rows:
            listed.append(None)
            continue
        where = pa.array(rows[task])
        answers, judged = (table.take(where).to_pylist() for table in tables)
        samples = [{**answer, **verdict} for answer, verdict in zip(answers, judged, strict=True)]
        shards.put(f"{prefix}/{index}", samples)
        listed.append([sum(sample["status"] == "passed" for sample in samples), len(samples), samples[0]["status"]])
    return listed
