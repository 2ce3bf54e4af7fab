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

_KEYS = ["task_id", "sample"]


def write_benchmark(number: int, name: str, places: Mapping[str, Folder], shards: Shards) -> dict[str, Any]:
    """Write the evaluations of one benchmark, and return what the pages need to know of them.

    Args:
        number: under which the shards go, for no name of a run is part of a path.
        places: the evaluation of each model.

    Raises:
        RunFolderError: answers and verdicts of an evaluation do not belong together.
    """
    rows = {model: _rows_by_task(place) for model, place in places.items()}
    tasks = sorted({task for by_task in rows.values() for task in by_task}, key=natural)
    models, listed = [], []
    for index, (model, place) in enumerate(places.items()):
        passed = _write_model(f"problems/{number}/{index}", place, rows[model], tasks, shards)
        score = json.loads(place.read_text("score.json"))
        wanted = ("model", "value", "interval", "interval_method", "k", "samples", "tasks", "style", "benchmark_version")
        models.append({"name": model, **{key: score[key] for key in wanted}})
        listed.append(passed)
    shards.put(f"problems/{number}/list", {"tasks": tasks, "models": listed})
    return {"name": name, "tasks": len(tasks), "models": models}


def _rows_by_task(place: Folder) -> dict[str, list[int]]:
    """Where each problem's samples stand, in their order."""
    keys = [read_table(place, name).select(_KEYS) for name in (COMPLETIONS, VERDICTS)]
    if not keys[0].equals(keys[1]):
        raise RunFolderError(f"The answers and the verdicts in {place} are not of the same questions; evaluate it again.")
    found: defaultdict[str, list[int]] = defaultdict(list)
    for row, task in enumerate(keys[0].column("task_id").to_pylist()):
        found[task].append(row)
    return found


def _write_model(
    prefix: str, place: Folder, rows: Mapping[str, Sequence[int]], tasks: Sequence[str], shards: Shards
) -> list[list[Any] | None]:
    """One shard for each problem. Returns for each: samples that passed, samples, the first one's verdict; None: not asked."""
    completions, verdicts = read_table(place, COMPLETIONS), read_table(place, VERDICTS)
    listed: list[list[Any] | None] = []
    for index, task in enumerate(tasks):
        if task not in rows:
            listed.append(None)
            continue
        where = pa.array(rows[task])
        answers, judged = completions.take(where).to_pylist(), verdicts.take(where).to_pylist()
        samples = [{**answer, **verdict} for answer, verdict in zip(answers, judged, strict=True)]
        for sample in samples:
            del sample["task_id"]
        shards.put(f"{prefix}/{index}", samples)
        listed.append([sum(sample["status"] == "passed" for sample in samples), len(samples), samples[0]["status"]])
    return listed
