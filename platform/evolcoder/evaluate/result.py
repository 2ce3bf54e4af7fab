"""Writes what an evaluation found: every answer, every verdict, the score with all that it depends on, the manifest."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from evolcoder.console import Reporter
from evolcoder.evaluate.measurement import PACKAGES, Measurement
from evolcoder.evaluate.scoring import Metric, group_counts, passes_by_task, score_tasks
from evolcoder.records import COMPLETION_SCHEMA, VERDICT_SCHEMA, Completion, Score, Verdict
from evolcoder.sandbox.messages import printable
from evolcoder.storage.arrow_files import arrow_bytes, read_rows
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import FileEntry, describe_file

_SCORE = "score.json"
_COMPLETIONS = "completions.arrow"
VERDICTS = "verdicts.arrow"
_LINES = "verdicts.jsonl"


def publish(measurement: Measurement, completions: Sequence[Completion], verdicts: Sequence[Verdict]) -> Score:
    """Write everything, the manifest last.

    Raises:
        IncompleteError: some program could not be run. Answers and verdicts are written, and no score is left.
    """
    stage = measurement.stage
    order = {(c.task_id, c.sample): index for index, c in enumerate(completions)}
    ordered = sorted(verdicts, key=lambda v: order[v.task_id, v.sample])
    not_run = any(verdict.status == "infra_error" for verdict in ordered)
    # An old score stays until the new one takes its place: a rescoring that is killed must find what it scores again.
    folder = stage.begin(*([_SCORE] if not_run else []))
    folder.write_bytes(_COMPLETIONS, arrow_bytes([_clean(c) for c in completions], COMPLETION_SCHEMA))
    folder.write_bytes(VERDICTS, arrow_bytes([v.to_row() for v in ordered], VERDICT_SCHEMA))
    _write_lines(folder, ordered)
    counts = passes_by_task(ordered)
    metrics = score_tasks(counts)
    if "plus" in measurement.benchmark.parts:
        metrics += score_tasks(passes_by_task(ordered, "base"), prefix="base_")
    score = _score(measurement, counts, metrics[0])
    data = _score_file(score, metrics, measurement, ordered, _groups(measurement, counts))
    folder.write_text(_SCORE, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    files: list[FileEntry | str] = [
        describe_file(folder, _COMPLETIONS, rows=len(completions)),
        describe_file(folder, VERDICTS, rows=len(ordered)),
        _LINES,
        _SCORE,
    ]
    stage.publish(files, {"pass@1": score.value, "tasks": score.tasks, "samples": score.samples})
    return score


def read_score(folder: Folder) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(folder.read_text(_SCORE))
    return data


def read_completions(folder: Folder) -> list[Completion]:
    """The stored answers of an evaluation, in the order of its score."""
    return [Completion.from_row(row) for row in read_rows(folder, _COMPLETIONS)]


def read_verdicts(folder: Folder) -> list[Verdict]:
    """The stored verdicts of an evaluation."""
    return [Verdict.from_row(row) for row in read_rows(folder, VERDICTS)]


def score_from_file(data: Mapping[str, Any]) -> Score:
    return Score.from_row({**data, "interval": tuple(data["interval"])})


def show(reporter: Reporter, data: Mapping[str, Any]) -> None:
    """The score as a table of one line for each metric, then by group where the benchmark has groups."""
    what = (data["benchmark"], data["benchmark_version"], data["tasks"], data["samples"], data["style"])
    rows = [(*what, score["metric"], *_value_cells(score)) for score in data["scores"]]
    columns = ["task", "version", "tasks", "n", "prompt", "metric", "value %", "stderr %", "95 % interval"]
    reporter.table(data["model"], columns, rows)
    grouped = [
        (label, name, group["tasks"], *_value_cells(group))
        for label, groups in data["groups"].items()
        for name, group in groups.items()
    ]
    if grouped:
        reporter.table("pass@1 by group", ["by", "group", "tasks", "value %", "stderr %", "95 % interval"], grouped)
    reporter.say("  ".join(f"{status} {count}" for status, count in data["statuses"].items()))
    for warning in data["warnings"]:
        reporter.warn(warning)


def show_failures(reporter: Reporter, verdicts: Sequence[Verdict], most: int) -> None:
    """The first programs that did not pass: what was called, what was expected and what came, and the program."""
    failed = [verdict for verdict in verdicts if verdict.status != "passed"]
    for verdict in failed[:most]:
        reporter.say(f"{verdict.task_id} sample {verdict.sample}: {verdict.status}: {verdict.detail}")
        for line in verdict.program.splitlines():
            reporter.say(f"    {line}")
    if len(failed) > most:
        reporter.say(f"and {len(failed) - most} more in verdicts.jsonl")


def _value_cells(score: Mapping[str, Any]) -> tuple[object, ...]:
    low, high = (100 * end for end in score["interval"])
    return round(100 * score["value"], 1), round(100 * score["standard_error"], 1), f"{low:.1f} to {high:.1f}"


def _groups(measurement: Measurement, counts: Mapping[str, tuple[int, int]]) -> dict[str, dict[str, Any]]:
    """pass@1 of each group of problems, by label."""
    found: dict[str, dict[str, Any]] = {}
    for (label, name), members in group_counts(measurement.benchmark.problems(), counts).items():
        metric = score_tasks(members)[0]
        found.setdefault(label, {})[name] = {"tasks": len(members), **asdict(metric)}
    return found


def _score(measurement: Measurement, counts: Mapping[str, tuple[int, int]], first: Metric) -> Score:
    return Score(
        benchmark=measurement.benchmark.name,
        benchmark_version=measurement.benchmark.version,
        model=measurement.model,
        style=measurement.style,
        tasks=len(counts),
        samples=min(n for n, _ in counts.values()),
        k=first.k,
        value=first.value,
        interval=first.interval,
        interval_method=first.interval_method,
        settings={**measurement.stage.resolved_identity, **measurement.circumstances},
    )


def _score_file(
    score: Score,
    metrics: Sequence[Metric],
    measurement: Measurement,
    verdicts: Sequence[Verdict],
    groups: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    return {
        **score.to_row(),
        **{metric.metric: metric.value for metric in metrics},
        "scores": [asdict(metric) for metric in metrics],
        "groups": groups,
        "benchmark_tasks": measurement.benchmark_tasks,
        "inputs": measurement.stage.input_hashes(),
        "statuses": dict(Counter(v.status for v in verdicts).most_common()),
        "warnings": measurement.all_warnings(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("evolcoder", *PACKAGES)}},
    }


def _clean(completion: Completion) -> dict[str, Any]:
    return {name: printable(value) if isinstance(value, str) else value for name, value in completion.to_row().items()}


def _write_lines(folder: Folder, verdicts: Sequence[Verdict]) -> None:
    """``seconds`` is the CPU time, which decides time-outs."""
    lines = []
    for verdict in verdicts:
        row = verdict.to_row()
        seconds, wall = row.pop("cpu_seconds"), row.pop("wall_seconds")
        program = row.pop("program")
        lines.append(json.dumps({**row, "seconds": seconds, "wall_seconds": wall, "program": program}, ensure_ascii=False))
    folder.write_text(_LINES, "".join(line + "\n" for line in lines))
