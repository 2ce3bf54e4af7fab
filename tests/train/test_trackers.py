"""Trackers that are real and write into folders of the test's own; and one that fails."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest

from evolcoder.errors import TrainingError
from evolcoder.storage.folders import Folder
from evolcoder.train import trackers
from evolcoder.train.trackers import TrackedRun, TrackerName, Trackers, check_trackers

ROWS: list[dict[str, Any]] = [
    {"step": step, "loss": 3.0 - step, "grad_norm": None if step == 2 else 0.5, "ended_at": 1e9, "tokens": 10}
    for step in (1, 2, 3)
]


def tracked(folder: Path, steps_done: int = 0) -> TrackedRun:
    return TrackedRun("tuned", "abc123", {"learning_rate": 1e-3, "lora": None}, Folder.open(str(folder)), steps_done)


def log(names: tuple[TrackerName, ...], run: TrackedRun, rows: list[dict[str, Any]]) -> list[str]:
    said: list[str] = []
    opened = Trackers(names, run, said.append)
    for row in rows:
        opened.log(row)
    opened.close()
    return said


def events(folder: Path) -> list[tuple[str, int, float]]:
    """What TensorBoard reads: records of a length, its checksum, an event, and the event's checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.glob("events*")):
        data, place = file.read_bytes(), 0
        while place < len(data):
            (size,) = struct.unpack_from("<Q", data, place)
            event = Event.FromString(data[place + 12 : place + 12 + size])
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            place += 12 + size + 4
    return found


def test_tensorboard_shows_the_figures_of_every_step(tmp_path: Path) -> None:
    assert log(("tensorboard",), tracked(tmp_path), ROWS) == []
    found = events(tmp_path / "tensorboard")
    assert [(step, value) for tag, step, value in found if tag == "train/loss"] == [(1, 2.0), (2, 1.0), (3, 0.0)]
    assert [step for tag, step, _ in found if tag == "train/grad_norm"] == [1, 3]
    assert not [tag for tag, *_ in found if "ended_at" in tag or tag == "train/step"]


def test_mlflow_has_one_run_of_a_training_that_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    assert log(("mlflow",), tracked(tmp_path), ROWS[:2]) == []
    assert log(("mlflow",), tracked(tmp_path, steps_done=2), ROWS[2:]) == []
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert run.data.params == {"learning_rate": "0.001", "lora": "None"}
    assert run.info.run_name == "tuned"
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(1, 2.0), (2, 1.0), (3, 0.0)]


def test_wandb_writes_the_run_where_its_variables_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    assert log(("wandb",), tracked(tmp_path), ROWS) == []
    (file,) = tmp_path.glob("wandb/offline-run-*/run-abc123.wandb")
    assert b"train/loss" in file.read_bytes()


def test_a_tracker_that_fails_is_told_of_once_and_costs_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def fail(_: object, step: int) -> None:
        asked.append(step)
        raise OSError("the server\nis gone")

    monkeypatch.setitem(trackers._OPENERS, "mlflow", lambda _: (fail, fail))
    said = log(("mlflow", "tensorboard"), tracked(tmp_path), ROWS)
    assert said == ["train.trackers: nothing more is sent to mlflow, which failed with OSError: the server is gone"]
    assert asked == [1]
    assert len([tag for tag, *_ in events(tmp_path / "tensorboard") if tag == "train/loss"]) == 3


def test_one_that_cannot_be_had_is_refused_before_anything_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None if name == "wandb" else object())
    with pytest.raises(TrainingError, match=r"wandb needs the package wandb, which is not installed; `pip install wandb`"):
        check_trackers(("tensorboard", "wandb"), Folder.open(str(tmp_path)))
    remote = Folder(pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem()), "bucket")
    with pytest.raises(TrainingError, match="tensorboard writes into the run's folder, and only a local one"):
        check_trackers(("tensorboard",), remote)
    check_trackers((), remote)
    assert os.listdir(tmp_path) == []
