"""Every ZeRO stage, precision and offload that a CPU has, on one worker; DeepSpeed wants a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from evolcoder.run.variants import up_to
from evolcoder.settings.run import TrainSettings
from evolcoder.storage.folders import Folder
from evolcoder.train.encode import EncodedRow
from evolcoder.train.job import TrainingJob

COMBINATIONS = [
    *((zero, precision, None) for zero in (0, 1, 2, 3) for precision in ("fp32", "bf16")),
    (1, "bf16", "optimizer"),
    (2, "bf16", "optimizer"),
    (3, "bf16", "optimizer"),
    (3, "bf16", "all"),
]


Curve = list[tuple[float, float | None]]


def train_each(model: str) -> list[Curve]:
    """Loss and gradient norm of three steps; the rate of the second is 0, so the third must find the second's loss."""
    with socket.socket() as probe:  # this file is run as a program, which finds no neighbour
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ |= {"DS_ACCELERATOR": "cpu", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    from evolcoder.train.engine import build_engine
    from evolcoder.train.steps import loss_tokens, optimizer_step, padded

    rows = [EncodedRow(list(range(3, 40)), 20), EncodedRow(list(range(50, 65)), 4)]
    curves: list[Curve] = []
    for zero, precision, offload in COMBINATIONS:
        settings = TrainSettings.model_validate(
            {"zero_stage": zero, "offload": offload, "global_batch_size": 2, "micro_batch_size": 1, "weight_decay": 0.1}
        )
        nowhere = Folder.open("/nonexistent")
        job = TrainingJob(settings, Path(model), up_to(0), 3, False, False, nowhere, nowhere, None)
        engine = build_engine(job, precision)  # type: ignore[arg-type]
        batches, counted = [padded([row], 0) for row in rows], loss_tokens(rows)
        results = [optimizer_step(engine, batches, counted, rate) for rate in (1e-2, 0.0, 1e-2)]
        curves.append([(result.loss, result.grad_norm) for result in results])
    return curves


@pytest.mark.long
def test_every_combination_learns_at_the_rate_it_is_given(tiny_model: Path, tmp_path: Path) -> None:
    found = tmp_path / "curves.json"
    subprocess.run([sys.executable, __file__, str(tiny_model), str(found)], check=True, capture_output=True, timeout=300)
    curves = dict(zip(COMBINATIONS, json.loads(found.read_text("utf-8")), strict=True))
    reference = curves[0, "fp32", None]
    for (zero, precision, offload), curve in curves.items():
        tolerance = 1e-4 if precision == "fp32" else 2e-2
        for (loss, norm), (expected_loss, expected_norm) in zip(curve, reference, strict=True):
            assert loss == pytest.approx(expected_loss, rel=tolerance), (zero, precision, offload)
            assert norm == pytest.approx(expected_norm, rel=3 * tolerance), (zero, precision, offload)
        assert curve[1][0] < curve[0][0]
        assert curve[2][0] == pytest.approx(curve[1][0], rel=1e-6)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(train_each(sys.argv[1])), "utf-8")
