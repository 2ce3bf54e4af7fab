"""Trains two models of a study side by side on a cluster of three nodes: ``trainings.py BASE_MODEL DATASET FOLDER``.

FOLDER gets a run of each kind: ``apart`` one after the other, ``together`` side by side, and side by side with the driver
(``driver``) or a training worker (``worker``) killed in the middle, or the driver interrupted as by Ctrl-C (``interrupt``);
the same command then goes on. Prints a line of JSON for
each: the weights' checksums and losses of each model, its span of time in seconds, and what was said.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster

DRIVER = Path(__file__).parents[1] / "train" / "driver.py"
STEPS = 40


def main() -> None:
    base, dataset, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    small = {"object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    for _ in range(2):
        cluster.add_node(num_cpus=1, **small)
    os.environ["RAY_ADDRESS"] = cluster.address
    try:
        for kind in ("apart", "together", "driver", "interrupt", "worker"):
            place = folder / kind / "r"
            shutil.copytree(dataset, place / "dataset")
            lines = _run(place, base, kind)
            told = {"kind": kind, "models": {name: _model(place / "train" / at) for name, at in PLACES.items()}}
            print(json.dumps({**told, "spans": _spans(lines), "said": lines}), flush=True)  # noqa: T201
    finally:
        cluster.shutdown()


PLACES = {"tuned": "1", "rounds-0": "0"}


def _run(place: Path, base: str, kind: str) -> list[dict[str, Any]]:
    process = _start(place, base, "apart" if kind == "apart" else "together")
    if kind in ("driver", "interrupt"):
        _wait(process, lambda: all(_checkpoints(place / "train" / at) for at in PLACES.values()))
        process.send_signal(signal.SIGKILL if kind == "driver" else signal.SIGINT)
        out, _ = process.communicate(timeout=300)
        if kind == "interrupt" and (process.returncode != 130 or "Stopped." not in out or "Traceback" in out):
            raise SystemExit(f"interrupted: {process.returncode} {out[-4000:]}")
        process = _start(place, base, "together")
    elif kind == "worker":
        _wait(process, lambda: all(_checkpoints(place / "train" / at) for at in PLACES.values()))
        os.kill(_workers()[0], signal.SIGKILL)
    out, _ = process.communicate(timeout=1200)
    if process.returncode:
        raise SystemExit(f"{kind}: {out[-4000:]}")
    return [json.loads(line) for line in out.splitlines() if line.startswith('{"event"')]


def _start(place: Path, base: str, how: str) -> subprocess.Popen[str]:
    train = {
        "max_steps": STEPS, "global_batch_size": 8, "sequence_length": 256, "learning_rate": 1e-3, "warmup_steps": 1,
        "precision": "fp32", "zero_stage": 0, "checkpoint_steps": 10,
    }  # fmt: skip
    settings = {
        "name": "r", "storage": str(place.parent), "evolve": {"rounds": 1}, "train": train, "study": {"base_rounds": [0]},
    }  # fmt: skip
    command = [sys.executable, str(DRIVER), json.dumps(settings), base, how]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # tests in the background ignore it
    )


def _wait(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    while not ready():
        if process.poll() is not None:
            raise SystemExit(f"ended too early: {process.communicate()[0][-4000:]}")
        time.sleep(0.05)


def _checkpoints(training: Path) -> bool:
    return any(training.glob("checkpoints/*/step-*/manifest.json"))


def _workers() -> list[int]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "ray::RayTrainWorker" in process.cmdline()[0]:
                found.append(process.pid)
        except (psutil.Error, IndexError):
            continue
    return sorted(found)


def _model(training: Path) -> dict[str, Any]:
    losses = [json.loads(line)["loss"] for line in (training / "metrics.jsonl").read_text().splitlines()]
    weights = hashlib.sha256((training / "model" / "model.safetensors").read_bytes()).hexdigest()
    done = (training / "manifest.json").is_file()
    return {"weights": weights, "losses": losses, "done": done, "left": (training / "checkpoints").exists()}


def _spans(lines: list[dict[str, Any]]) -> dict[str, list[float]]:
    """When each model's workers were up and when its steps had ended, as the driver saw it."""
    spans: dict[str, list[float]] = {}
    for line in lines:
        name, _, text = str(line.get("text")).partition(": ")
        if name in PLACES and text in ("loading the model", "exporting the model"):
            spans.setdefault(name, []).append(line["time"])
    return spans


if __name__ == "__main__":
    main()
