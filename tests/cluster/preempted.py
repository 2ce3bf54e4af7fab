"""Trains on a cluster of three nodes, of which the one that trains will be taken away: ``preempted.py BASE DATASET FOLDER``.

The announcement is Ray's own, as an autoscaler gives it for a spot machine, 20 seconds ahead; no checkpoint is due for long.
The node then goes. Prints a line of JSON: the losses of all steps, the first step that was saved, and what was said.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

DRIVER = Path(__file__).parents[1] / "train" / "driver.py"
STEPS = 1200
NOTICE_SECONDS = 20


def main() -> None:
    base, dataset, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    small = {"object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    nodes = {node.node_id: node for node in (cluster.add_node(num_cpus=1, **small) for _ in range(2))}
    ray.init(cluster.address, logging_level="ERROR", log_to_driver=False)
    os.environ |= {"RAY_ADDRESS": cluster.address, "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.5"}
    place = folder / "r"
    shutil.copytree(dataset, place / "dataset")
    train = {
        "max_steps": STEPS, "global_batch_size": 8, "sequence_length": 256, "learning_rate": 1e-4, "warmup_steps": 1,
        "precision": "fp32", "zero_stage": 0, "checkpoint_steps": 100_000,
    }  # fmt: skip
    settings = {"name": "r", "storage": str(folder), "evolve": {"rounds": 1}, "train": train}
    command = [sys.executable, str(DRIVER), json.dumps(settings), base, "apart"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        while not (place / "train/1/metrics.jsonl").exists():
            _check(process)
        leaving = _training_node()
        drain = ["drain-node", "--address", cluster.address, "--node-id", leaving, "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
        drain += ["--reason-message", "spot", "--deadline-remaining-seconds", str(NOTICE_SECONDS)]
        subprocess.run([Path(sys.executable).with_name("ray"), *drain], check=True, stdout=subprocess.DEVNULL)
        while not (saved := sorted(place.glob("train/1/checkpoints/*/step-*/manifest.json"))):
            _check(process)
        time.sleep(NOTICE_SECONDS)
        cluster.remove_node(nodes[leaving], allow_graceful=False)
        out, _ = process.communicate(timeout=600)
        if process.returncode:
            raise SystemExit(out[-4000:])
        said = [json.loads(line) for line in out.splitlines() if line.startswith('{"event"')]
        losses = [json.loads(line)["loss"] for line in (place / "train/1/metrics.jsonl").read_text().splitlines()]
        told = {"losses": losses, "saved": int(saved[0].parent.name.removeprefix("step-"))}
        print(json.dumps({**told, "said": [line.get("text", "") for line in said]}), flush=True)  # noqa: T201
    finally:
        process.kill()
        ray.shutdown()
        cluster.shutdown()


def _check(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        raise SystemExit(f"ended too early: {process.communicate()[0][-4000:]}")
    time.sleep(0.1)


def _training_node() -> str:
    actors: dict[str, Any] = ray._private.state.actors()  # type: ignore[attr-defined]
    (found,) = (
        actor["Address"]["NodeID"]
        for actor in actors.values()
        if actor["State"] == "ALIVE" and "RayTrainWorker" in actor["ActorClassName"]
    )
    return str(found)


if __name__ == "__main__":
    main()
