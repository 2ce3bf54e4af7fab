"""Runs that no model made: folders in the layout of the stages, written through the product's own stages and row types.

What is made up is what models and teachers would have written, and whether a program passes: a skill by problem.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from evolcoder.console import Reporter
from evolcoder.evaluate.scoring import score_tasks
from evolcoder.evolve.dataset.build import build_dataset
from evolcoder.evolve.rounds.gather import Merged
from evolcoder.evolve.rounds.shards import write_shard
from evolcoder.records import COMPLETION_SCHEMA, VERDICT_SCHEMA, Completion, Instruction, Verdict
from evolcoder.run.evol_stop import stopping_stage, stopping_variant
from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import Variant, run_variants
from evolcoder.settings.run import RunSettings
from evolcoder.stages.listing import run_stages
from evolcoder.storage.arrow_files import arrow_bytes
from evolcoder.storage.stage import Stage
from evolcoder.study.compare import pass_rates
from evolcoder.study.report import write_report
from evolcoder.study.stopping import StoppingRule, decide

HOSTILE_TEXT = "</pre><script>alert(1)</script> ```"
OPERATORS = ("constraints", "rarer_requirements", "deeper_reasoning", "erroneous_code", "complexity")
_SIZES = {"humaneval": 164, "mbpp": 500, "mbpp-dev": 474, "ds1000": 1000, "ds1000-insertion": 845}
_LIBRARIES = {"Matplotlib": 155, "Numpy": 220, "Pandas": 291, "Pytorch": 68, "Scipy": 106, "Sklearn": 115, "Tensorflow": 45}


def settings_of(folder: Path, rounds: int = 3, **sections: Any) -> RunSettings:
    return RunSettings.model_validate({"name": "made", "storage": str(folder), "evolve": {"rounds": rounds}, **sections})


def instruction(number: int, root: str, operator: str, status: str = "kept", reason: str | None = None) -> Instruction:
    """A row that is longer, asks for more and answers with more code the later its round."""
    wanted = " It must not sort, and should handle an empty list without errors." * number
    body = "".join(f"    if items[{n}:]:\n        total += items[{n}]\n" for n in range(number + 1))
    code = f"```python\ndef total(items):\n    total = 0\n{body}    return total\n```"
    return Instruction(
        id=f"{root}-{number}",
        round=number,
        parent_id=f"{root}-{number - 1}" if number else None,
        root_id=root,
        operator=operator,
        instruction=f"Write task {root} as a function that sums a list.{wanted}",
        input="",
        response=f"First we add, and then we return.\n{code}",
        teacher="teacher",
        sampling="{}",
        prompt_tokens=(80 + 20 * number) * (number > 0),
        completion_tokens=(120 + 40 * number) * (number > 0),
        request_keys=[],
        status=status,  # type: ignore[arg-type]
        reason=reason,
    )


def make_round(run: RunFolder, number: int, rows: Sequence[Instruction], usd_per_token: float = 0.0) -> None:
    merged = Merged()
    for row in rows:
        merged.count(row)
    place = run.round(number)
    earlier = {f"round {before:02d}": Stage(f"round {before:02d}", run.round(before), {}) for before in range(number)}
    stage = Stage(f"round {number:02d}", place, {}, earlier)
    stage.begin("*.arrow", "*.json")
    for name, status in (("part", "kept"), ("rejected", "eliminated")):
        merged.files += write_shard(place, f"{name}-00000.arrow", [row for row in rows if row.status == status])
    found = [row for row in rows if row.reason == "contaminated"]
    contamination = {
        "rules": 1,
        "benchmarks": {"humaneval": "v"},
        "rows_compared": len(rows),
        "rows": len(found),
        "by_benchmark": {"humaneval": len(found)} if found else {},
        "by_rule": {"words": len(found)} if found else {},
        "hits": [],
    }
    place.write_text("contamination.json", json.dumps(contamination))
    summary = merged.summary(lambda prompt, completion: usd_per_token * (prompt + completion))
    if number:
        summary["seconds"] = 60.0 * number
    stage.publish([*merged.files, "contamination.json"], summary)


def make_rounds(settings: RunSettings, seeds: int = 40, last: int | None = None, usd_per_token: float = 2e-6) -> None:
    """Rounds 0 to ``last`` and, when that is the last round of the settings, the training set."""
    run, draw = RunFolder.open(settings), random.Random(0)
    reasons = ("empty", "copied_prompt", "contaminated", "duplicate")
    for number in range((settings.evolve.last_round if last is None else last) + 1):
        rows = []
        for seed in range(seeds):
            fell = number > 0 and draw.random() < 0.2
            operator = draw.choice(OPERATORS) if number else "seed"
            outcome = ("eliminated", draw.choice(reasons)) if fell else ("kept", None)
            rows.append(instruction(number, f"{seed:06d}", operator, *outcome))
        make_round(run, number, rows, usd_per_token if number else 0.0)
    if last is None:
        build_dataset(settings, run, Reporter("json", io.StringIO()))


def make_trainings(settings: RunSettings, *variants: Variant, steps: int = 40) -> None:
    run = RunFolder.open(settings)
    made_from = {entry.stage.folder.path: entry.stage.inputs for entry in run_stages(settings, run)}
    for variant in variants:
        place, draw, rows = run.train(variant.folder), random.Random(variant.name), 30 * len(variant.rounds)
        losses = [0.6 + 1.2 / (1 + step / 8) + 0.05 * draw.random() for step in range(1, steps + 1)]
        lines = [{"step": step, "loss": loss, "seconds": 2.0} for step, loss in enumerate(losses, 1)]
        place.write_text("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        summary = {"rows": rows, "tokens": 200 * rows, "steps": steps, "seconds": 2.0 * steps, "precision": "fp32"}
        summary |= {"first_loss": losses[0], "last_loss": losses[-1]}
        inputs = {name: source for name, source in made_from[place.path].items() if isinstance(source, Stage)}
        Stage("train", place, {}, inputs).publish(["metrics.jsonl"], summary)


def make_score(
    run: RunFolder,
    role: str,
    benchmark: str,
    passed: Sequence[Sequence[bool]],
    answer: str = "def f(): ...",
    training: str | None = None,
    **changed: Any,
) -> None:
    """A finished evaluation; ``passed`` are, by problem, the outcomes of its samples, ``training`` is the model's folder."""
    place = run.evaluation(role, benchmark)
    model = "base" if training is None else Stage("train", run.train(training), {})
    stage = Stage("evaluate", place, {}, {"model": model})
    stage.begin()
    prefix = {"humaneval": "HumanEval", "ds1000": "DS1000", "ds1000-insertion": "DS1000"}.get(benchmark, "Mbpp")
    tasks = {f"{prefix}/{number}": outcomes for number, outcomes in enumerate(passed)}
    samples = [(task, n, ok) for task, outcomes in tasks.items() for n, ok in enumerate(outcomes)]
    answers = [Completion(task, n, f"Solve {task}.", answer, "stop", 90, 60).to_row() for task, n, _ in samples]
    verdicts = [
        Verdict(task, n, status, status, None, "" if ok else "AssertionError", answer, 0.2, 0.3).to_row()
        for task, n, ok in samples
        for status in ("passed" if ok else "failed",)
    ]
    place.write_bytes("completions.arrow", arrow_bytes(answers, COMPLETION_SCHEMA))
    place.write_bytes("verdicts.arrow", arrow_bytes(verdicts, VERDICT_SCHEMA))
    counts = {task: (len(outcomes), sum(outcomes)) for task, outcomes in tasks.items()}
    metric = score_tasks(counts)[0]
    place.write_text("verdicts.jsonl", "")
    score: dict[str, Any] = {
        "benchmark": benchmark,
        "benchmark_version": "v",
        "model": f"{role}-model",
        "style": "base" if role == "base" else "wizardcoder",
        "tasks": len(tasks),
        "benchmark_tasks": _SIZES[benchmark],
        "samples": len(passed[0]),
        "k": 1,
        "value": metric.value,
        "interval": metric.interval,
        "interval_method": metric.interval_method,
        "settings": {"temperature": 0.0, "prompt": f"{role == 'base'}", "samples": len(passed[0])},
        "groups": {"library": _by_library(counts)} if benchmark.startswith("ds1000") else {},
        "warnings": [],
        **changed,
    }
    place.write_text("score.json", json.dumps(score))
    stage.publish(["completions.arrow", "verdicts.arrow", "verdicts.jsonl", "score.json"])


def _by_library(counts: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    left, found = dict(counts), {}
    for library, size in _LIBRARIES.items():
        members = {task: left.pop(task) for task in list(left)[:size]}
        if members:
            metric = score_tasks(members)[0]
            found[library] = {"tasks": len(members), "value": metric.value, "interval": metric.interval}
    return found


def outcomes(skill: float, problems: int, draw: random.Random, hardness: Sequence[float], samples: int = 1) -> list[list[bool]]:
    """Of each problem whether a model of this skill passes; hard problems are hard for all."""
    return [[draw.random() < min(1.0, max(0.0, skill + 0.5 - hard)) for _ in range(samples)] for hard in hardness[:problems]]


def make_study(
    folder: Path,
    curve: Callable[[Variant], float],
    benchmarks: Sequence[str] = ("humaneval", "mbpp-dev"),
    problems: int | None = None,
    base: float = 0.2,
    **sections: Any,
) -> RunSettings:
    """A finished study: each variant's skill is what ``curve`` gives for it."""
    study = {"base_rounds": [0, 1, 2, 3], "alone": True, **sections.pop("study", {})}
    settings = settings_of(folder, study=study, evaluate={"benchmarks": list(benchmarks)}, **sections)
    make_rounds(settings)
    run = RunFolder.open(settings)
    make_trainings(settings, *run_variants(settings))
    for benchmark in benchmarks:
        count = min(problems or _SIZES[benchmark], _SIZES[benchmark])
        hardness = [random.Random(f"{benchmark} {n}").random() for n in range(count)]
        draw = random.Random(benchmark)
        make_score(run, "base", benchmark, outcomes(base, count, draw, hardness))
        for variant in run_variants(settings):
            passed = outcomes(curve(variant), count, draw, hardness)
            make_score(run, variant.name, benchmark, passed, training=variant.folder)
    return settings


def make_stopping_study(folder: Path, curve: Callable[[Variant], float], problems: int = 474) -> RunSettings:
    """A study whose rounds Evol Stop decides by its own rule, on the development set; the rest of it is not made yet."""
    sections = {"evolve": {"rounds": "auto"}, "evaluate": {"benchmarks": ["humaneval"]}, "study": {"patience": 1}}
    settings = RunSettings.model_validate({"name": "made", "storage": str(folder), **sections})
    run = RunFolder.open(settings)
    hardness = [random.Random(f"dev {n}").random() for n in range(problems)]
    scores, decisions = [], []
    for number in count():
        make_rounds(settings, last=max(1, number))
        variant = stopping_variant(settings, number)
        make_trainings(settings, variant)
        passed = outcomes(curve(variant), problems, random.Random(number), hardness)
        make_score(run, variant.name, "mbpp-dev", passed, training=variant.folder)
        scores.append(Stage("evaluate", run.evaluation(variant.name, "mbpp-dev"), {}))
        stage = stopping_stage(settings, run, scores)
        rule = stage.resolved_identity["rule"]
        decision = decide([pass_rates(score.folder) for score in scores], StoppingRule(**rule))
        decisions.append({"after_round": number, **asdict(decision)})
        stage.begin().write_text("decisions.json", json.dumps({**stage.resolved_identity, "decisions": decisions}))
        stage.publish(["decisions.json"])
        if not decision.go_on:
            return settings
    raise AssertionError


def rising_then_falling(variant: Variant) -> float:
    """The third round is best, and merging rounds wins over each alone."""
    skill = {0: 0.3, 1: 0.42, 2: 0.5, 3: 0.45}[variant.rounds[-1]]
    return skill if variant.from_the_start else skill - 0.06


def draw_report(settings: RunSettings) -> list[dict[str, Any]]:
    """What the verb shows."""
    stream = io.StringIO()
    run = RunFolder.open(settings)
    drawn = write_report(settings, run, Stage("report", run.report, {}), Reporter("json", stream))
    shown = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert drawn is not already_done(shown)
    return shown


def already_done(shown: list[dict[str, Any]]) -> bool:
    return any("nothing changed since it was drawn" in event.get("text", "") for event in shown)


def make_decisions(settings: RunSettings, best: int, after: int) -> None:
    """Evol Stop's file, in its published form."""
    decisions = []
    for number in range(1, after + 1):
        best_yet = min(number, best)
        gain = number <= best
        decisions.append(
            {
                "after_round": number,
                "go_on": number < after,
                "best_round": best_yet,
                "reason": f"Round {number} {'gains on' if gain else 'shows no gain over'} round {best_yet - gain}.",
                "tests": [
                    {
                        "round": number,
                        "against": best_yet - gain,
                        "difference": 0.06 if gain else -0.02,
                        "p_value": 0.01 if gain else 0.8,
                        "level": 0.05,
                        "gain": gain,
                    }
                ],
            }
        )
    rule = {"error_rate": 0.1, "patience": 1, "max_rounds": 5}
    text = json.dumps({"rule": rule, "development": "mbpp-dev", "decisions": decisions})
    stage = Stage("evol_stop", RunFolder.open(settings).root / "evol_stop", {})
    stage.begin().write_text("decisions.json", text)
    stage.publish(["decisions.json"])
