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
from evolcoder.evaluate.measurement import COMPLETIONS, PACKAGES, Measurement
from evolcoder.evaluate.scoring import passes_by_task, score_groups, score_tasks
from evolcoder.records import COMPLETION_SCHEMA, VERDICT_SCHEMA, Completion, Score, Verdict
from evolcoder.sandbox.isolation import CAVEATS
from evolcoder.sandbox.messages import printable
from evolcoder.storage.arrow_files import arrow_bytes, read_rows
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import FileEntry, describe_file

_SCORE = "score.json"
VERDICTS = "verdicts.arrow"
_LINES = "verdicts.jsonl"


def publish(measurement: Measurement, completions: Sequence[Completion], verdicts: Sequence[Verdict]) -> Score:
    """Write everything, the manifest last.

    Raises:
        IncompleteError: some program could not be run. Answers and verdicts are written, and no score is left.
    """
    stage, benchmark = measurement.stage, measurement.benchmark
    order = {(c.task_id, c.sample): index for index, c in enumerate(completions)}
    ordered = sorted(verdicts, key=lambda v: order[v.task_id, v.sample])
    not_run = any(verdict.status == "infra_error" for verdict in ordered)
    # An old score stays until the new one takes its place: a rescoring that is killed must find what it scores again.
    folder = stage.begin(*([_SCORE] if not_run else []))
    rows = [
        {name: printable(value) if isinstance(value, str) else value for name, value in completion.to_row().items()}
        for completion in completions
    ]
    folder.write_bytes(COMPLETIONS, arrow_bytes(rows, COMPLETION_SCHEMA))
    folder.write_bytes(VERDICTS, arrow_bytes([v.to_row() for v in ordered], VERDICT_SCHEMA))
    folder.write_text(_LINES, "".join(_line(verdict) for verdict in ordered))
    counts = passes_by_task(ordered)
    metrics = score_tasks(counts)
    if "plus" in benchmark.parts:
        metrics += score_tasks(passes_by_task(ordered, "base"), prefix="base_")
    score = Score(
        benchmark=benchmark.name,
        benchmark_version=benchmark.version,
        model=measurement.model,
        style=measurement.style,
        tasks=len(counts),
        samples=min(n for n, _ in counts.values()),
        k=metrics[0].k,
        value=metrics[0].value,
        interval=metrics[0].interval,
        interval_method=metrics[0].interval_method,
        settings={**stage.resolved_identity, **measurement.circumstances},
    )
    caveat = CAVEATS.get(measurement.circumstances["sandbox"])
    data = {
        **score.to_row(),
        **{metric.metric: metric.value for metric in metrics},
        "scores": [asdict(metric) for metric in metrics],
        "groups": score_groups(benchmark.problems(), counts),
        "benchmark_tasks": measurement.benchmark_tasks,
        "inputs": stage.input_hashes(),
        **({"thinking": measurement.thinking} if any(measurement.thinking.values()) else {}),
        "statuses": dict(Counter(v.status for v in ordered).most_common()),
        "warnings": [*measurement.warnings, *([caveat] if caveat else []), *benchmark.notes],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("evolcoder", *PACKAGES)}},
    }
    folder.write_text(_SCORE, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    files: list[FileEntry | str] = [
        describe_file(folder, COMPLETIONS, rows=len(completions)),
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
    return [Completion.from_row(row) for row in read_rows(folder, COMPLETIONS)]


def read_verdicts(folder: Folder) -> list[Verdict]:
    """The stored verdicts of an evaluation."""
    return [Verdict.from_row(row) for row in read_rows(folder, VERDICTS)]


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
    if thinking := data.get("thinking"):
        reporter.say(f"the thinking in {thinking['answers']:,} answers is left out ({thinking['characters']:,} characters)")
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


def _line(verdict: Verdict) -> str:
    """A line of ``verdicts.jsonl``, which people read: ``seconds`` is the CPU time, which decides time-outs."""
    row = verdict.to_row()
    seconds, wall, program = row.pop("cpu_seconds"), row.pop("wall_seconds"), row.pop("program")
    return json.dumps({**row, "seconds": seconds, "wall_seconds": wall, "program": program}, ensure_ascii=False) + "\n"
