"""Several trainings: no more at once than there is room for, and one that fails leaves the others alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from evolcoder.errors import ClusterError, EvolcoderError, TrainingError
from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import run_variants
from evolcoder.settings.run import RunSettings
from evolcoder.storage.stage import Stage
from evolcoder.train import several
from evolcoder.train.resources import Room

NAMES = ["tuned", "rounds-0", "rounds-0-1", "rounds-0-2"]


class Trainings:
    """Stands for ``train_one``: notes what runs at the same time, and fails where it is told to."""

    def __init__(self, failing: dict[str, EvolcoderError], meet: int = 1) -> None:
        self.failing, self.running, self.most, self.made, self.cpus = failing, 0, 0, [], set()
        self._lock, self._meeting = threading.Lock(), threading.Barrier(meet)
        self.made: list[str]
        self.cpus: set[int]

    def __call__(
        self, settings: Any, run: Any, stage: Stage, variant: Any, base: Any, reporter: Any, cpus_each: int = 1
    ) -> None:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
            self.cpus.add(cpus_each)
        self._meeting.wait(30)
        reporter.say("at work")
        try:
            if variant.name in self.failing:
                raise self.failing[variant.name]
            self.made.append(variant.name)
        finally:
            with self._lock:
                self.running -= 1


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[dict[str, EvolcoderError], Trainings]]:
    @contextmanager
    def no_session() -> Iterator[None]:
        yield

    def run_all(
        reporter: Any, room: Room, failing: dict[str, EvolcoderError] | None = None, meet: int = 1, act: Any = None
    ) -> tuple[dict[str, EvolcoderError], Trainings]:
        trainings = Trainings(failing or {}, meet)
        monkeypatch.setattr(several, "train_one", act or trainings)
        monkeypatch.setattr(several, "ray_session", no_session)
        monkeypatch.setattr(several, "room_now", lambda _: room)
        study = {"base_rounds": [0, 1, 2]}
        settings = RunSettings.model_validate({"name": "r", "storage": str(tmp_path), "study": study})
        run = RunFolder.open(settings)
        stages = [(Stage("train", run.train(variant.folder), {}), variant) for variant in run_variants(settings)]
        run_all.trainings = trainings  # type: ignore[attr-defined]
        return several.train_several(settings, run, stages, tmp_path, reporter), trainings

    return run_all


def test_a_machine_trains_them_one_after_the_other_in_order(train: Any, watch: Any) -> None:
    failed, trainings = train(watch(), Room(1))
    assert (failed, trainings.made, trainings.most, trainings.cpus) == ({}, NAMES, 1, {1})


def test_two_run_side_by_side_where_there_is_room_for_two(train: Any, watch: Any) -> None:
    watcher = watch()
    failed, trainings = train(watcher, Room(2, 4), meet=2)
    assert (failed, sorted(trainings.made), trainings.most, trainings.cpus) == ({}, sorted(NAMES), 2, {4})
    assert "Train 4 models of r, 2 side by side" in watcher.text
    assert "rounds-0-1: at work" in watcher.text


@pytest.mark.parametrize("room", [Room(1), Room(2), Room(9)])
def test_one_that_fails_leaves_the_others_alone(train: Any, watch: Any, room: Room) -> None:
    watcher = watch()
    diverged = TrainingError("The loss is nan.")
    failed, trainings = train(watcher, room, {"rounds-0": diverged})
    assert failed == {"rounds-0": diverged}
    assert sorted(trainings.made) == sorted(set(NAMES) - {"rounds-0"})
    assert "rounds-0 is left out: The loss is nan." in watcher.text


@pytest.mark.parametrize("room", [Room(1), Room(2)])
def test_what_all_would_meet_ends_all(train: Any, watch: Any, room: Room) -> None:
    with pytest.raises(ClusterError, match="gone"):
        train(watch(), room, {"rounds-0": ClusterError("gone")})
    assert train.trainings.running == 0
    assert room.trainings > 1 or train.trainings.made == ["tuned"]


def test_one_for_which_there_is_no_room_after_all_waits_for_the_others(train: Any, watch: Any) -> None:
    told, made, tried = threading.Event(), list[str](), list[str]()

    class Told(watch):  # type: ignore[misc]
        def warn(self, text: str) -> None:
            super().warn(text)
            told.set()

    def train_one(settings: Any, run: Any, stage: Any, variant: Any, base: Any, reporter: Any, cpus_each: int = 1) -> None:
        tried.append(variant.name)
        if variant.name == "rounds-0" and tried.count("rounds-0") == 1:
            raise ClusterError("Ray Train could not run the workers.")
        assert variant.name != "tuned" or told.wait(30)
        made.append(variant.name)

    watcher = Told()
    assert train(watcher, Room(2), act=train_one)[0] == {}
    assert made == NAMES, "one after the other from then on"
    assert "rounds-0 waits, and 1 run at once from now on: Ray Train could not run the workers." in watcher.text


def test_those_that_are_done_are_not_trained_and_need_no_ray(train: Any, watch: Any, tmp_path: Path) -> None:
    for folder in ("3", "0", "1", "2"):
        stage = Stage("train", RunFolder.open(RunSettings(name="r", storage=str(tmp_path))).train(folder), {})
        stage.begin()
        stage.publish([])
    watcher = watch()
    failed, trainings = train(watcher, Room(2))
    assert (failed, trainings.made) == ({}, [])
    assert watcher.text.count("nothing is trained again") == 4
