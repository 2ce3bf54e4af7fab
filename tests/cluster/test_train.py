"""Two models of a study, trained on a cluster of several nodes: at the same time, to the same bits, over kills."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cluster.preempted import STEPS as PREEMPTED_STEPS
from tests.cluster.trainings import STEPS
from tests.train.conftest import arithmetic_rows, tiny_model, tiny_tokenizer, write_dataset  # noqa: F401 - two are fixtures

from evolcoder.storage.folders import Folder

pytestmark = pytest.mark.cluster


@pytest.mark.timeout(3600)
def test_two_models_train_side_by_side_as_they_do_alone_and_go_on_after_a_kill(
    tiny_model: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    write_dataset(Folder.open(tmp_path / "dataset"), arithmetic_rows(48))
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    script = Path(__file__).with_name("trainings.py")
    command = [sys.executable, str(script), str(tiny_model), str(tmp_path / "dataset"), str(tmp_path / "runs")]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stdout[-4000:] + shown.stderr[-4000:]
    told = {run["kind"]: run for run in map(json.loads, (line for line in shown.stdout.splitlines() if line.startswith("{")))}

    spans = told["together"]["spans"]
    assert max(start for start, _ in spans.values()) < min(end for _, end in spans.values()), spans
    for kind, run in told.items():
        for name, model in run["models"].items():
            assert (model["done"], model["left"], len(model["losses"])) == (True, False, STEPS), (kind, name)
        assert run["models"] == told["apart"]["models"], kind
    said = {kind: [line.get("text", "") for line in run["said"]] for kind, run in told.items()}
    for kind in ("driver", "interrupt"):
        assert all(any(f"{name}: going on after step" in text for text in said[kind]) for name in ("tuned", "rounds-0"))
    assert sum("was lost" in text for text in said["worker"]) == 1
    assert sum("going on after step" in text for text in said["worker"]) == 1


@pytest.mark.timeout(900)
def test_a_node_that_will_be_taken_away_saves_first_and_training_goes_on_elsewhere(
    tiny_model: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    write_dataset(Folder.open(tmp_path / "dataset"), arithmetic_rows(48))
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    script = Path(__file__).with_name("preempted.py")
    command = [sys.executable, str(script), str(tiny_model), str(tmp_path / "dataset"), str(tmp_path / "runs")]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stdout[-4000:] + shown.stderr[-4000:]
    (told,) = map(json.loads, (line for line in shown.stdout.splitlines() if line.startswith("{")))
    assert len(told["losses"]) == PREEMPTED_STEPS
    assert f"1 of the nodes will be taken away: saved after step {told['saved']}" in told["said"]
    assert any(f"going on after step {told['saved']}" in text for text in told["said"])
