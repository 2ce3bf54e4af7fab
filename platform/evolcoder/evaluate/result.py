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
from evolcoder.evaluate.benchmarks import benchmark_named
from evolcoder.evaluate.measurement import COMPLETIONS, PACKAGES, VERDICTS, Measurement, circumstances
from evolcoder.evaluate.scoring import passes_by_task, score_groups, score_tasks
from evolcoder.records import COMPLETION_SCHEMA, VERDICT_SCHEMA, Completion, Score, Verdict
from evolcoder.sandbox.isolation import CAVEATS
from evolcoder.sandbox.messages import printable
from evolcoder.storage.arrow_files import arrow_bytes, read_rows
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import describe_file
from evolcoder.text.thinking import drop_thinking, marks_with

_SCORE = "score.json"
_LINES = "verdicts.jsonl"


def publish(measurement: Measurement, completions: Sequence[Completion], verdicts: Sequence[Verdict]) -> None:
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
    rows = [
        {name: printable(value) if isinstance(value, str) else value for name, value in completion.to_row().items()}
        for completion in completions
    ]
    folder.write_bytes(COMPLETIONS, arrow_bytes(rows, COMPLETION_SCHEMA))
    folder.write_bytes(VERDICTS, arrow_bytes([v.to_row() for v in ordered], VERDICT_SCHEMA))
    folder.write_text(_LINES, "".join(_line(verdict) for verdict in ordered))
    score = _score(measurement, completions, ordered)
    folder.write_text(_SCORE, json.dumps(score, indent=1, ensure_ascii=False) + "\n")
    tables = [describe_file(folder, COMPLETIONS, len(completions)), describe_file(folder, VERDICTS, len(ordered))]
    stage.publish([*tables, _LINES, _SCORE], {name: score[name] for name in ("pass@1", "tasks", "samples")})


def _score(measurement: Measurement, completions: Sequence[Completion], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """What ``score.json`` says: a ``Score`` and all that stands behind it."""
    stage, settings = measurement.stage, measurement.settings
    benchmark = benchmark_named(stage.resolved_identity["benchmark"])
    problems = benchmark.problems()
    counts = passes_by_task(verdicts)
    metrics = score_tasks(counts)
    if "plus" in benchmark.parts:
        metrics += score_tasks(passes_by_task(verdicts, "base"), prefix="base_")
    dropped = []
    if stage.resolved_identity["extraction"] == "chat":  # which leaves thinking out
        marks = marks_with(settings.thinking_marks)
        dropped = [drop_thinking(one.answer, marks)[1] for one in completions if one.kind == "answer"]
    recorded = {**stage.resolved_identity, **circumstances(settings, benchmark)}
    caveat = CAVEATS.get(recorded["sandbox"])
    score = Score(
        benchmark=benchmark.name,
        benchmark_version=benchmark.file.version,
        model=measurement.model,
        style=measurement.style,
        tasks=len(counts),
        samples=min(n for n, _ in counts.values()),
        k=metrics[0].k,
        value=metrics[0].value,
        interval=metrics[0].interval,
        interval_method=metrics[0].interval_method,
        settings=recorded,
    )
    return {
        **score.to_row(),
        **{metric.metric: metric.value for metric in metrics},
        "scores": [asdict(metric) for metric in metrics],
        "groups": score_groups(problems, counts),
        "benchmark_tasks": len(problems),
        "inputs": stage.input_hashes(),
        **({"thinking": {"answers": sum(map(bool, dropped)), "characters": sum(dropped)}} if any(dropped) else {}),
        "statuses": dict(Counter(v.status for v in verdicts).most_common()),
        "warnings": [*measurement.warnings, *([caveat] if caveat else []), *benchmark.notes],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("evolcoder", *PACKAGES)}},
    }


def read_score(folder: Folder) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(folder.read_text(_SCORE))
    return data


def show(reporter: Reporter, folder: Folder) -> Score:
    """The score that a folder holds, as a table of one line for each metric, then by group where the benchmark has groups."""
    data = read_score(folder)
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
    return Score.from_row({**data, "interval": tuple(data["interval"])})


def show_failures(reporter: Reporter, folder: Folder, most: int) -> None:
    """The first programs that did not pass: what was called, what was expected and what came, and the program."""
    verdicts = (Verdict.from_row(row) for row in read_rows(folder, VERDICTS))
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
