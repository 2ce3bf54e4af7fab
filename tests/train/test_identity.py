"""What a training is made from: the rounds that it learns from, and no later one; or, as once recorded, the whole set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evolcoder.errors import RunFolderError
from evolcoder.run.folder import RunFolder
from evolcoder.settings.run import RunSettings
from evolcoder.stages.listing import run_stages
from evolcoder.storage.stage import Stage
from evolcoder.train.prepare import check_rounds, dataset_manifest


def settings(storage: Path, rounds: int, **train: Any) -> RunSettings:
    study = {"base_rounds": list(range(rounds + 1)), "alone": True}
    values = {"name": "r", "storage": str(storage), "evolve": {"rounds": rounds}, "train": train, "study": study}
    return RunSettings.model_validate(values)


def publish(stage: Stage, content: str) -> None:
    """As whoever makes the stage does, but for what it makes."""
    stage.begin().write_text("made", content)
    stage.publish(["made"])


def trainings(chosen: RunSettings) -> dict[str, Stage]:
    return {entry.model: entry.stage for entry in run_stages(chosen, RunFolder.open(chosen)) if entry.kind == "train"}


def make(chosen: RunSettings, *kinds: str) -> None:
    """Make what is not done of these kinds; a round is done once it is there."""
    for entry in run_stages(chosen, RunFolder.open(chosen)):
        if entry.kind in kinds and not (entry.stage.manifest() if entry.kind == "round" else entry.stage.state().done):
            publish(entry.stage, f"{entry.label} of {chosen.evolve.rounds} rounds")


@pytest.fixture(autouse=True)
def no_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rounds and models here hold nothing that decides them."""
    monkeypatch.setattr("evolcoder.evolve.rounds.identity.seeds_identity", lambda *_: {})
    monkeypatch.setattr("evolcoder.evolve.rounds.identity.load_seeds", lambda *_: [])


def test_a_round_that_is_added_leaves_every_model_that_is_trained_as_it_is(tmp_path: Path) -> None:
    before, after = settings(tmp_path, 2), settings(tmp_path, 3)
    make(before, "round", "dataset", "train")
    made = {name: stage.manifest() for name, stage in trainings(before).items()}
    make(after, "round", "dataset")
    found = trainings(after)
    done = {name for name, stage in found.items() if stage.state().done}
    assert done == {"rounds-0", "rounds-0-1", "rounds-0-2", "round-1", "round-2"}
    assert found["rounds-0-2"].manifest() == made["tuned"], "which is the same training under another name"
    assert {name for name in found if name not in done} == {"tuned", "round-3"}


def test_another_round_makes_those_that_learn_from_it_stale(tmp_path: Path) -> None:
    chosen = settings(tmp_path, 2)
    make(chosen, "round", "dataset", "train")
    (round_2,) = (entry.stage for entry in run_stages(chosen, RunFolder.open(chosen)) if entry.label == "round 2")
    publish(round_2, "other rows")
    states = {name: stage.state() for name, stage in trainings(chosen).items()}
    assert {name for name, state in states.items() if not state.done} == {"tuned", "round-2"}
    assert states["tuned"].reason == "round 02 changed since it was made"


def as_once_recorded(chosen: RunSettings) -> None:
    """Publish the run's own model as a training named its input before there were studies."""
    run = RunFolder.open(chosen)
    (dataset,) = (entry.stage for entry in run_stages(chosen, run) if entry.kind == "dataset")
    own = trainings(chosen)["tuned"]
    publish(Stage(own.kind, own.folder, own.identity, {"dataset": dataset}, own.packages), "a model")


def test_a_model_that_names_the_whole_training_set_stays_done_as_long_as_that_is_the_same(tmp_path: Path) -> None:
    chosen = settings(tmp_path, 1)
    make(chosen, "round", "dataset")
    as_once_recorded(chosen)
    own = trainings(chosen)["tuned"]
    assert own.state().done
    assert list(own.inputs) == ["dataset"]
    assert list(trainings(settings(tmp_path, 1, learning_rate=1e-3))["tuned"].inputs) == ["round 00", "round 01"]
    publish(own.inputs["dataset"], "another set")  # type: ignore[arg-type]
    assert trainings(chosen)["tuned"].state().kind == "stale"


def test_a_training_set_of_other_rounds_is_not_trained_on(tmp_path: Path) -> None:
    before, after = settings(tmp_path, 1), settings(tmp_path, 2)
    make(before, "round", "dataset")
    run = RunFolder.open(after)
    make(after, "round")
    dataset = dataset_manifest(run.dataset)
    check_rounds(dataset, run.dataset, trainings(after)["rounds-0-1"].input_hashes())
    with pytest.raises(RunFolderError, match=r"merged before round 02 was made; run `evolcoder evolve` first"):
        check_rounds(dataset, run.dataset, trainings(after)["tuned"].input_hashes())
