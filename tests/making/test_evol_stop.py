"""Evol Stop over a run folder: rounds follow from scores, nothing is made twice, a changed rule decides anew.

Whoever makes rounds, models and scores is a fake here, and the scores follow a curve; whole studies are run in test_loop.py.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from evolcoder.console import Reporter
from evolcoder.errors import DataError, SettingsError
from evolcoder.making import evol_stop
from evolcoder.models import find_model
from evolcoder.records import VERDICT_SCHEMA, Verdict
from evolcoder.run.evol_stop import as_decided, at_most, check_decided, decided, models_of
from evolcoder.run.folder import RunFolder
from evolcoder.settings.run import RunSettings
from evolcoder.stages.listing import RunStage, run_stages
from evolcoder.stages.progress import stage_status
from evolcoder.storage.arrow_files import arrow_bytes
from evolcoder.study.evidence.costs import stage_costs

RISES_TWICE = {"rounds-0": 10, "rounds-0-1": 30, "rounds-0-2": 50, "rounds-0-3": 50, "rounds-0-4": 49, "rounds-0-5": 80}
"""How many of 100 problems each model solves."""


def auto(storage: Path, *, max_rounds: int = 5, **study: Any) -> RunSettings:
    evolve = {"rounds": "auto", "max_rounds": max_rounds}
    study = {"patience": 1, **study}
    return RunSettings.model_validate({"name": "r", "storage": str(storage), "evolve": evolve, "study": study})


class Makers:
    """Make stages by publishing them; ``made`` says which, in order. Before the one of number ``break_at`` all is stopped."""

    def __init__(self, curve: dict[str, int], break_at: int | None = None) -> None:
        self.curve, self.made, self.break_at = curve, [], break_at
        self.made: list[str]

    def kinds(self) -> dict[str, Callable[..., None]]:
        return dict.fromkeys(("round", "train", "evaluate"), self._make)

    def _make(self, settings: RunSettings, run: RunFolder, entries: Sequence[RunStage], reporter: Reporter) -> None:
        for entry in entries:
            if not entry.stage.state().done:
                if len(self.made) == self.break_at:
                    raise KeyboardInterrupt
                self._publish(entry)
                self.made.append(entry.label)

    def _publish(self, entry: RunStage) -> None:
        folder = entry.stage.begin()
        rows = [
            Verdict(str(task), 0, status, status, None, "", "", 0.0, 0.0).to_row()  # type: ignore[arg-type]
            for task in range(100)
            for status in ["passed" if task < self.curve.get(entry.model, 0) else "failed"]
        ]
        folder.write_bytes("verdicts.arrow", arrow_bytes(rows, VERDICT_SCHEMA))
        folder.write_text("what", entry.label)
        entry.stage.publish(["verdicts.arrow", "what"])


@pytest.fixture
def evolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Evolve until it ends; returns what was made."""

    def run_it(settings: RunSettings, curve: dict[str, int] = RISES_TWICE, break_at: int | None = None) -> list[str]:
        makers = Makers(curve, break_at)
        monkeypatch.setattr(evol_stop, "MAKERS", makers.kinds())
        evol_stop.evolve_until_it_ends(settings, RunFolder.open(settings), Reporter("plain", io.StringIO()))
        return makers.made

    return run_it


def decisions(settings: RunSettings) -> dict[str, Any]:
    return dict(json.loads(RunFolder.open(settings).evol_stop.read_text("decisions.json")))


def test_rounds_are_evolved_while_they_gain_and_the_best_is_taken(evolve: Any, tmp_path: Path) -> None:
    settings = auto(tmp_path)
    made = evolve(settings)
    models = ["round 0", "rounds 0-1", "rounds 0-2", "rounds 0-3"]
    scores = [f"evaluate {name} on mbpp-dev" for name in ("rounds-0", "rounds-0-1", "rounds-0-2", "rounds-0-3")]
    steps = [step for last in range(4) for step in (f"round {last}", f"train on {models[last]}", scores[last])]
    steps[:4] = ["round 0", "round 1", steps[1], steps[2]]  # the seeds alone decide nothing
    assert made == steps
    recorded = decisions(settings)
    assert recorded["rule"] == {"error_rate": 0.1, "patience": 1, "max_rounds": 5}
    assert recorded["development"] == "mbpp-dev"
    assert [(one["after_round"], one["go_on"], one["best_round"]) for one in recorded["decisions"]] == [
        (0, True, 0), (1, True, 1), (2, True, 2), (3, False, 2),
    ]  # fmt: skip
    assert all(one["reason"].startswith(f"Round {one['after_round']}") for one in recorded["decisions"])
    assert set(recorded["decisions"][1]["tests"][0]) == {"round", "against", "difference", "p_value", "level", "gain"}
    so_far = decided(settings, RunFolder.open(settings))
    assert (so_far.rounds, so_far.best_round, so_far.ended) == (3, 2, True)
    assert evolve(settings) == [], "nothing is made twice"


@pytest.mark.parametrize("moment", range(12))
def test_a_run_that_was_stopped_goes_on_and_makes_nothing_twice(evolve: Any, tmp_path: Path, moment: int) -> None:
    whole, broken = auto(tmp_path / "whole"), auto(tmp_path / "broken")
    made = evolve(whole)
    with pytest.raises(KeyboardInterrupt):
        evolve(broken, break_at=moment)
    assert evolve(broken) == made[moment:]
    assert decisions(broken) == decisions(whole)


def test_decisions_that_are_lost_are_made_again_from_the_scores(evolve: Any, tmp_path: Path) -> None:
    settings = auto(tmp_path)
    evolve(settings)
    before, place = decisions(settings), RunFolder.open(settings).evol_stop
    place.write_text("decisions.json", "{")
    assert not decided(settings, RunFolder.open(settings)).ended
    assert evolve(settings) == []
    assert decisions(settings) == before


def test_a_changed_rule_decides_anew_from_the_scores_that_are_there(evolve: Any, tmp_path: Path) -> None:
    evolve(auto(tmp_path))
    patient = auto(tmp_path, patience=2)
    assert not decided(patient, RunFolder.open(patient)).ended
    assert evolve(patient) == ["round 4", "train on rounds 0-4", "evaluate rounds-0-4 on mbpp-dev"]
    assert decided(patient, RunFolder.open(patient)).best_round == 2
    strict = auto(tmp_path, error_rate=1e-9)
    assert evolve(strict) == []
    found = decided(strict, RunFolder.open(strict))
    assert (found.rounds, found.ended) == (1, True)
    assert found.best_round == 1, "no gain is shown, and round 1 is the better one all the same"
    few = auto(tmp_path, max_rounds=2)
    assert evolve(few) == []
    assert decided(few, RunFolder.open(few)).rounds == 2


def test_another_score_makes_the_decisions_after_it_anew(evolve: Any, tmp_path: Path) -> None:
    settings = auto(tmp_path)
    evolve(settings)
    run = RunFolder.open(settings)
    (score,) = (entry for entry in run_stages(settings, run) if entry.label == "evaluate rounds-0-2 on mbpp-dev")
    Makers({"rounds-0-2": 30})._publish(score)
    assert [one["after_round"] for one in decided(settings, run).decisions] == [0, 1]
    evolve(settings)
    assert [one["go_on"] for one in decided(settings, run).decisions] == [True, True, False]


curves = st.lists(st.integers(0, 100), min_size=6, max_size=6)


@given(curves, st.integers(1, 3), st.integers(1, 5))
@hypothesis_settings(max_examples=25)
def test_whatever_the_curve_it_ends_and_takes_the_best_of_the_rounds_it_made(
    tmp_path_factory: pytest.TempPathFactory, curve: list[int], patience: int, most: int
) -> None:
    settings = auto(tmp_path_factory.mktemp("auto"), max_rounds=most, patience=patience)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evol_stop, "MAKERS", Makers(dict(zip(RISES_TWICE, curve, strict=True))).kinds())
        evol_stop.evolve_until_it_ends(settings, RunFolder.open(settings), Reporter("plain", io.StringIO()))
    found = decided(settings, RunFolder.open(settings))
    assert found.ended
    assert 1 <= found.rounds <= most
    assert curve[found.best_round] == max(curve[: found.rounds + 1])


def test_before_it_ends_there_is_no_model_of_the_runs_own(evolve: Any, tmp_path: Path) -> None:
    settings = auto(tmp_path, base_rounds=[0, 1], alone=True)
    run = RunFolder.open(settings)
    labels = [entry.label for entry in run_stages(settings, run)]
    assert labels == [
        "round 0", "round 1", "train on round 0", "evaluate rounds-0 on mbpp-dev", "train on rounds 0-1",
        "evaluate rounds-0-1 on mbpp-dev", "Evol Stop", "evaluate base on humaneval", "report",
    ]  # fmt: skip
    for ask in (lambda: check_decided(settings, run), lambda: find_model("tuned", settings)):
        with pytest.raises(SettingsError, match="is auto, and it is not decided yet"):
            ask()


def test_seeds_without_responses_are_said_to_be_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing_to_train_on(*_: Any) -> None:
        raise DataError("No row of round 0 can be trained on.")

    monkeypatch.setattr(evol_stop, "MAKERS", Makers({}).kinds() | {"train": nothing_to_train_on})
    settings = auto(tmp_path)
    with pytest.raises(DataError, match=r"can be trained on; evolve\.rounds=auto starts with .* give seeds with responses"):
        evol_stop.evolve_until_it_ends(settings, RunFolder.open(settings), Reporter("plain", io.StringIO()))


def test_status_says_what_the_next_decision_waits_for(evolve: Any, tmp_path: Path) -> None:
    settings = auto(tmp_path)
    run = RunFolder.open(settings)

    def shown(of: RunSettings) -> str:
        (entry,) = (entry for entry in run_stages(of, run) if entry.kind == "evol_stop")
        return stage_status(entry).text

    assert shown(settings) == "to do"
    with pytest.raises(KeyboardInterrupt):
        evolve(settings, break_at=8)
    assert shown(settings) == "goes on after rounds-0-2"
    assert shown(auto(tmp_path, patience=2)) == "to do again: rule changed since"
    evolve(settings)
    assert shown(settings) == "done"


def test_when_it_has_ended_the_runs_own_model_and_its_study_follow(evolve: Any, tmp_path: Path) -> None:
    settings = auto(tmp_path, base_rounds=[0, 2, 3, 5], alone=True, leave_out=["constraints"])
    run = RunFolder.open(settings)
    evolve(settings)
    assert [variant.name for variant in models_of(settings, run)] == [
        "rounds-0", "rounds-0-1", "rounds-0-2", "rounds-0-3", "tuned", "round-2", "round-3", "without-constraints",
    ]  # fmt: skip
    stages = run_stages(settings, run)
    tuned = next(entry for entry in stages if entry.kind == "train" and entry.model == "tuned")
    assert tuned.label == "tuned: train on rounds 0-2"
    assert tuned.stage.state().done, "it is the model of round 2"
    (dataset,) = (entry.stage for entry in stages if entry.kind == "dataset")
    assert list(dataset.inputs) == ["round 00", "round 01", "round 02"]
    assert dataset.resolved_identity["rounds"] == 2
    tested = [entry.model for entry in stages if entry.kind == "evaluate" and entry.benchmark == "humaneval"]
    assert tested == ["base", "rounds-0", "rounds-0-3", "tuned", "round-2", "round-3", "without-constraints"]
    assert as_decided(settings, run).study.base_rounds == (0, 2, 3)
    kinds = [entry.kind for entry in stages]
    assert kinds.index("evol_stop") < kinds.index("dataset")
    assert len({id(entry) for entry in stages}) == len(stages)


def test_the_model_that_is_taken_has_cost_what_it_cost_once(evolve: Any, tmp_path: Path) -> None:
    settings = auto(tmp_path)
    run = RunFolder.open(settings)
    evolve(settings)
    made = [(entry, manifest) for entry in run_stages(settings, run) if (manifest := entry.stage.manifest())]
    trained = [(entry, manifest) for entry, manifest in made if entry.kind == "train"]
    assert [entry.model for entry, _ in trained] == ["rounds-0", "rounds-0-1", "rounds-0-2", "rounds-0-3", "tuned"]
    assert [cost["stage"] for cost in stage_costs(trained, run.root)] == [
        "train on round 0", "train on rounds 0-1", "train on rounds 0-2", "train on rounds 0-3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"train": {"data_rounds": 1}}, "evolve.rounds=auto chooses the rounds that the model is trained on"),
        ({"study": {"base_rounds": [6]}}, "study.base_rounds holds 6, which is more than evolve.max_rounds=5"),
        ({"evaluate": {"benchmarks": ["mbpp-dev"]}}, "mbpp-dev tests the models and is study.development=mbpp-dev"),
        ({"evaluate": {"benchmarks": ["mbpp+"]}}, "tests the models and holds problems of study.development=mbpp-dev"),
        ({"study": {"benchmarks": ["humaneval+"], "development": "humaneval"}}, "humaneval tests the models and is study.dev"),
    ],
)
def test_what_chooses_the_rounds_tests_no_model(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence.replace("+", r"\+")):
        RunSettings.model_validate({"name": "r", "evolve": {"rounds": "auto"}, **changes})
    numbered = {key: value for key, value in changes.items() if key == "evaluate"}
    RunSettings.model_validate({"name": "r", "evolve": {"rounds": 3}, **numbered})


def test_a_plan_is_of_the_most_that_it_may_come_to_until_it_has_ended(evolve: Any, tmp_path: Path) -> None:
    settings = auto(tmp_path, max_rounds=4, base_rounds=[0])
    run = RunFolder.open(settings)
    most, models, scores = at_most(settings, run)
    assert most.evolve.last_round == 4
    assert [variant.folder for variant in models] == ["4", "0", "1", "2", "3"]
    assert scores == [
        *((name, "mbpp-dev") for name in list(RISES_TWICE)[:5]),
        *((name, "humaneval") for name in ("base", "tuned", "rounds-0")),
    ]
    evolve(settings)
    most, models, _ = at_most(settings, run)
    assert most.evolve.last_round == 3
    assert {variant.folder for variant in models} == {"0", "1", "2", "3"}
