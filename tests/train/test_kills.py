"""All that trains is killed at once, ten times, as when a machine loses its power; the same command goes on each time."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.train.conftest import arithmetic_rows, write_dataset

from evolcoder.storage.folders import Folder

STEPS = 300
KILLS = 10


def start(place: Path, base: Path) -> subprocess.Popen[str]:
    train = {
        "max_steps": STEPS, "global_batch_size": 4, "sequence_length": 256, "learning_rate": 1e-3, "warmup_steps": 1,
        "precision": "fp32", "zero_stage": 2, "checkpoint_steps": 3,
    }  # fmt: skip
    settings = {"name": "r", "storage": str(place), "evolve": {"rounds": 1}, "train": train}
    command = [sys.executable, str(Path(__file__).with_name("driver.py")), json.dumps(settings), str(base), "apart"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def newest(place: Path) -> int:
    """The step of the newest checkpoint that counts, 0 when there is none."""
    steps = [path.parent.name for path in place.glob("r/train/1/checkpoints/*/step-*/manifest.json")]
    return max((int(name.removeprefix("step-")) for name in steps), default=0)


def kill(process: subprocess.Popen[str]) -> None:
    everyone = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for one in everyone:
        one.suspend()  # or those that are still alive clean up after the others
    for one in everyone:
        one.kill()
    process.communicate()


@pytest.mark.long
def test_ten_kills_at_random_steps_change_nothing_of_the_model(tiny_model: Path, tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        write_dataset(Folder.open(str(tmp_path / name / "r/dataset")), arithmetic_rows())
    whole = start(tmp_path / "whole", tiny_model)
    said, _ = whole.communicate(timeout=300)
    assert whole.returncode == 0, said[-3000:]

    draw, gone_on_from = random.Random(0), []
    for _ in range(KILLS):
        before = newest(tmp_path / "killed")
        process = start(tmp_path / "killed", tiny_model)
        while newest(tmp_path / "killed") <= before:
            assert process.poll() is None, process.communicate()[0][-3000:]
            time.sleep(0.02)
        time.sleep(draw.uniform(0, 0.3))
        kill(process)
        gone_on_from.append(newest(tmp_path / "killed"))
    assert len({*gone_on_from}) == KILLS
    assert gone_on_from[-1] < STEPS

    last = start(tmp_path / "killed", tiny_model)
    said, _ = last.communicate(timeout=300)
    assert last.returncode == 0, said[-3000:]
    assert f"going on after step {gone_on_from[-1]}" in said
    models = [(tmp_path / name / "r/train/1/model/model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert models[0] == models[1]
    rows = [
        [json.loads(line) for line in (tmp_path / name / "r/train/1/metrics.jsonl").read_text("utf-8").splitlines()]
        for name in ("whole", "killed")
    ]
    assert [row["step"] for row in rows[1]] == list(range(1, STEPS + 1))
    assert [row["loss"] for row in rows[0]] == [row["loss"] for row in rows[1]]
