"""Evol Stop through the product, but for the training: a scripted teacher evolves the rounds, scripted endpoints stand for the
models that would have learned from them, and their programs are judged in the sandbox."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from evolcoder.console import Reporter
from evolcoder.endpoint.requests import Endpoint
from evolcoder.endpoint.scripted.server import Script, ScriptedTeacher, scripted_teacher
from evolcoder.evaluate.benchmarks import benchmark_named
from evolcoder.evaluate.benchmarks.base import Problem
from evolcoder.evaluate.prompts import tabbed
from evolcoder.making import evol_stop
from evolcoder.making import scores as scoring
from evolcoder.run.folder import RunFolder
from evolcoder.settings.run import RunSettings
from evolcoder.stages.listing import RunStage

pytestmark = [pytest.mark.cluster, pytest.mark.long]

RISES_THEN_FALLS = {"rounds-0": 0.1, "rounds-0-1": 0.35, "rounds-0-2": 0.6, "rounds-0-3": 0.95, "rounds-0-4": 0.6}
FLAT = dict.fromkeys(RISES_THEN_FALLS, 0.5)
PROBLEMS = 40


@cache
def problems() -> Sequence[Problem]:
    return benchmark_named("mbpp-dev").problems()


class ScriptedModel(ScriptedTeacher):
    """Answers with a reference solution where the model can solve the problem, else with a program that does nothing."""

    skills: Mapping[str, float]

    def completion(self, chat: bool, body: Mapping[str, Any], request_hash: str, fault: str | None) -> dict[str, Any]:
        completion = super().completion(chat, body, request_hash, fault)
        asked = next(problem for problem in problems() if tabbed(problem.prompt) in body["prompt"])
        difficulty = random.Random(asked.task_id).random()
        luck = random.Random(f"{self.script.model} {asked.task_id}").uniform(-0.1, 0.1)
        solved = difficulty < self.skills[self.script.model] + luck
        completion["choices"][0]["text"] = f"```python\n{asked.canonical_solution if solved else 'pass'}\n```"
        return completion


class Rising(ScriptedModel):
    skills = RISES_THEN_FALLS


class Level(ScriptedModel):
    skills = FLAT


def study(place: Path, teacher: ScriptedTeacher, kind: type[ScriptedModel], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, int]:
    """Evolve until it ends; the decisions, and how many questions the models were asked."""
    questions = 0

    def train(settings: RunSettings, run: RunFolder, trainings: Sequence[RunStage], reporter: Reporter) -> None:
        for entry in trainings:
            if not entry.stage.state().done:
                entry.stage.begin().write_text("model", entry.model)
                entry.stage.publish(["model"])

    def evaluate(settings: RunSettings, run: RunFolder, scores: Sequence[RunStage], reporter: Reporter) -> None:
        nonlocal questions
        name = scores[0].model
        with scripted_teacher(Script(model=name), kind=kind) as model:
            stages = {entry.benchmark: entry.stage for entry in scores}
            scoring.score(settings, stages, scoring.reached(Endpoint(model.base_url, name, None)), reporter)
            questions += model.counts()["requests"]

    monkeypatch.setattr(evol_stop, "MAKERS", {**evol_stop.MAKERS, "train": train, "evaluate": evaluate})
    settings = RunSettings.model_validate(
        {
            "name": "auto",
            "storage": str(place),
            "seeds": {"limit": 6},
            "teacher": {"base_url": teacher.base_url, "model": "scripted-teacher"},
            "evolve": {"rounds": "auto", "max_rounds": 4},
            "evaluate": {"limit": PROBLEMS, "style": "wizardcoder"},
            "study": {"patience": 1},
        }
    )
    run = RunFolder.open(settings)
    evol_stop.evolve_until_it_ends(settings, run, Reporter("plain", io.StringIO()))
    return json.loads(run.evol_stop.read_text("decisions.json"))["decisions"], questions


def test_it_stops_after_the_round_that_falls_and_takes_the_best(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_teacher(Script()) as teacher:
        decisions, questions = study(tmp_path, teacher, Rising, monkeypatch)
        assert [decision["go_on"] for decision in decisions] == [True, True, True, True, False]
        assert decisions[-1]["best_round"] == 3
        assert "evolution ends and round 3, the best so far, is taken" in decisions[-1]["reason"]
        assert questions == 5 * PROBLEMS
        asked = teacher.counts()["requests"]
        assert study(tmp_path, teacher, Rising, monkeypatch) == (decisions, 0)
        assert teacher.counts()["requests"] == asked, "nothing is evolved twice"


def test_it_stops_at_once_where_nothing_is_gained(local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_teacher(Script()) as teacher:
        decisions, _ = study(tmp_path, teacher, Level, monkeypatch)
    assert [decision["go_on"] for decision in decisions] == [True, False]
    assert [path.name for path in sorted((tmp_path / "auto" / "rounds").iterdir())] == ["00", "01"]
