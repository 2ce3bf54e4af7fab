"""Models of a study, scored side by side on a cluster of several nodes: as they are one after the other, and over Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.train.conftest import tiny_model, tiny_tokenizer  # noqa: F401 - both are fixtures

from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Stage

pytestmark = pytest.mark.cluster

CLUSTER = """
from ray.cluster_utils import Cluster
small = {"object_store_memory": 100_000_000}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
for _ in range(2):
    cluster.add_node(num_cpus=3, **small)
print(cluster.address, flush=True)
input()
cluster.shutdown()
"""
MODELS = ("base", "tuned", "rounds-0")
PROBLEMS = 20
OPEN = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}


@pytest.fixture
def base(tiny_model: Path, tmp_path: Path) -> Path:  # noqa: F811
    """The tiny model, for prompts of any length."""
    copy = shutil.copytree(tiny_model, tmp_path / "base")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 4096}))
    return copy


@pytest.fixture
def address() -> Iterator[str]:
    command = [sys.executable, "-c", CLUSTER]
    with subprocess.Popen(command, env=OPEN, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cluster:
        assert cluster.stdout is not None
        try:
            yield cluster.stdout.readline().strip()
        finally:
            cluster.communicate("\n", timeout=120)


def settings_of(place: Path, base: Path) -> Path:
    """A run whose models were trained: each has the base model's weights, scaled by a number of its own."""
    import torch
    from transformers import AutoModelForCausalLM

    for folder, scale in (("1", 1.5), ("0", 0.5)):
        stage = Stage("train", Folder.open(place / "r/train") / folder, {"scale": scale})
        stage.begin()
        model = AutoModelForCausalLM.from_pretrained(base)
        with torch.no_grad():
            model.lm_head.weight.mul_(scale)
        model.save_pretrained(place / "r/train" / folder / "model")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(base / name, place / "r/train" / folder / "model" / name)
        stage.publish(["model/model.safetensors"])
    settings = {
        "name": "r",
        "storage": str(place),
        "evolve": {"rounds": 1},
        "train": {"base_model": str(base)},
        "evaluate": {"limit": PROBLEMS, "max_tokens": 24, "style": "wizardcoder", "max_concurrency": 2},
        "study": {"base_rounds": [0, 1]},
    }
    (place / "run.yaml").write_text(yaml.safe_dump(settings))
    return place / "run.yaml"


def evaluate(settings: Path, address: str | None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "evolcoder.cli", "evaluate", str(settings), "--output", "json"],
        env=OPEN | ({"RAY_ADDRESS": address} if address else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # tests in the background ignore it
    )


def said(process: subprocess.Popen[str]) -> list[str]:
    """What it said, and the titles of stages and of tables, in order."""
    out, errors = process.communicate(timeout=600)
    assert process.returncode == 0, out[-3000:] + errors[-3000:]
    return [str(line.get("text") or line.get("title")) for line in map(json.loads, out.splitlines())]


def answers(place: Path) -> dict[str, Any]:
    made = {}
    for model in MODELS:
        folder = place / "r/evaluate" / model / "humaneval"
        rows = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
        keys = [row["key"] for row in rows]
        assert len(keys) == len(set(keys)) == PROBLEMS, "no question is asked twice"
        made[model] = (sorted((row["task_id"], row["answer"]) for row in rows), json.loads((folder / "score.json").read_text()))
    return made


@pytest.mark.timeout(1800)
def test_models_are_scored_side_by_side_as_they_are_alone_and_go_on_after_ctrl_c(
    address: str, base: Path, tmp_path: Path
) -> None:
    places = {kind: tmp_path / kind for kind in ("apart", "together", "interrupted")}
    for place in places.values():
        place.mkdir()
    one_by_one = said(evaluate(settings_of(places["apart"], base), None))
    assert not any("side by side" in line for line in one_by_one)

    together = said(evaluate(settings_of(places["together"], base), address))
    assert "Evaluate 3 models of r, 2 side by side" in together
    ups = [at for at, line in enumerate(together) if " is up after " in line]
    scored = [at for at, line in enumerate(together) if re.search(r": \w*(passed|failed|timeout) \d", line)]
    assert len(ups) == len(scored) == 3, together
    assert ups[1] < scored[0], "the second was up before the first had its score"

    settings = settings_of(places["interrupted"], base)
    process = evaluate(settings, address)
    logs = [places["interrupted"] / "r/evaluate" / model / "humaneval/answers.jsonl" for model in MODELS[:2]]
    while not all(log.exists() and log.read_text().count("\n") >= 3 for log in logs):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in out + errors
    said(evaluate(settings, address))

    alone = answers(places["apart"])
    for kind in ("together", "interrupted"):
        made = answers(places[kind])
        for model in MODELS:
            assert made[model][0] == alone[model][0], (kind, model)
            assert made[model][1]["statuses"] == alone[model][1]["statuses"], (kind, model)
