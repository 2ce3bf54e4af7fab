"""A training that goes on in another layout than the one that it was interrupted in; DeepSpeed wants processes of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evolcoder.run.variants import up_to
from evolcoder.settings.run import TrainSettings
from evolcoder.storage.folders import Folder
from evolcoder.train import checkpoints
from evolcoder.train.encode import EncodedRow
from evolcoder.train.job import TrainingJob

Layout = tuple[int, int, str | None]
"""Workers, ZeRO stage, offload."""
ROWS = [EncodedRow([(5 * n + 11 * row) % 200 + 3 for n in range(12 + 5 * row)], 4 + row) for row in range(8)]


def train_a_while(
    model: str, work: str, layout: Layout, precision: str, until: int, out: str, largest_file_bytes: int, gpu: bool
) -> None:
    """Go on from the last checkpoint to step ``until``, save, and leave the losses of all steps."""
    import resource

    from evolcoder.train.engine import build_engine, settle
    from evolcoder.train.schedule import packed_micro_batches
    from evolcoder.train.steps import loss_tokens, optimizer_step, packed

    workers, zero, offload = layout
    settings = TrainSettings.model_validate(
        {"zero_stage": zero, "offload": offload, "workers": workers, "global_batch_size": 8, "weight_decay": 0.1}
    )
    job = TrainingJob(settings, Path(model), up_to(0), until, True, gpu, Folder.open(work), Folder.open(work), None)
    job = settle(job, precision)  # type: ignore[arg-type]
    engine = build_engine(job, precision)  # type: ignore[arg-type]
    history, damages = checkpoints.resume(engine, job)
    mine = packed_micro_batches(ROWS, [len(row.tokens) for row in ROWS], int(os.environ["RANK"]), workers, 64)
    for step in range(len(history), until):
        batches, counted = [packed(rows) for rows in mine], loss_tokens(ROWS)
        result = optimizer_step(engine, batches, counted, 1e-2 if step % 3 else 3e-3)
        history.append({"step": step + 1, "loss": result.loss, "grad_norm": result.grad_norm})
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file_bytes, -1))
    checkpoints.save(engine, job, history)
    if os.environ["RANK"] == "0":
        Path(out).write_text(json.dumps({"history": history, "damages": damages}), "utf-8")


def phase(
    model: Path, work: Path, layout: Layout, precision: str, until: int, largest_file_bytes: int = -1, gpu: bool = False
) -> dict[str, Any]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    out = work.parent / f"{work.name}-{until}.json"
    arguments = [
        sys.executable,
        __file__,
        json.dumps([str(model), str(work), layout, precision, until, str(out), largest_file_bytes, gpu]),
    ]
    common = os.environ | {
        **({} if gpu else {"DS_ACCELERATOR": "cpu"}),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            arguments, env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(layout[0])},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for rank in range(layout[0])
    ]  # fmt: skip
    for process in processes:
        said, _ = process.communicate(timeout=240)
        assert process.returncode == 0, said.decode()[-3000:]
    return dict(json.loads(out.read_text("utf-8")))


CHAINS: list[tuple[str, list[Layout]]] = [
    ("fp32", [(2, 2, None), (1, 3, None), (2, 3, "all"), (1, 0, None), (2, 1, "optimizer")]),
    ("bf16", [(1, 2, None), (2, 3, None), (1, 1, None)]),
]


@pytest.mark.long
@pytest.mark.parametrize(("precision", "chain"), CHAINS)
def test_a_training_goes_on_with_other_workers_stages_and_offload(
    tiny_model: Path, tmp_path: Path, precision: str, chain: list[Layout]
) -> None:
    unbroken = phase(tiny_model, tmp_path / "unbroken", chain[0], precision, 2 * len(chain))["history"]
    for number, layout in enumerate(chain):
        found = phase(tiny_model, tmp_path / "broken", layout, precision, 2 * number + 2)
        assert found["damages"] == []
    assert [row["step"] for row in found["history"]] == list(range(1, 2 * len(chain) + 1))
    tolerance = 1e-5 if precision == "fp32" else 5e-3
    for row, wanted in zip(found["history"], unbroken, strict=True):
        assert row["loss"] == pytest.approx(wanted["loss"], rel=tolerance), row["step"]
        assert row["grad_norm"] == pytest.approx(wanted["grad_norm"], rel=10 * tolerance), row["step"]
    assert unbroken[-1]["loss"] < unbroken[0]["loss"] - 0.1


@pytest.mark.slow
def test_a_disk_that_fills_up_while_saving_leaves_the_checkpoint_before_it(tiny_model: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    phase(tiny_model, work, (1, 2, None), "fp32", 2)
    with pytest.raises(
        AssertionError, match=r"TrainingError: .*step-000003.* cannot be written \(File too large\).*of step 2\)"
    ):
        phase(tiny_model, work, (1, 2, None), "fp32", 3, largest_file_bytes=50_000)
    assert [path.name for path in work.iterdir()] == ["step-000002"]
    assert len(phase(tiny_model, work, (1, 2, None), "fp32", 3)["history"]) == 3


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_taken(tiny_model: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    wanted = phase(tiny_model, work, (1, 2, None), "fp32", 2)["history"]
    phase(tiny_model, work, (1, 2, None), "fp32", 3)
    (state,) = (work / "step-000003").glob("state-*")
    state.write_bytes(state.read_bytes()[:-1] + b"x")
    found = phase(tiny_model, work, (1, 2, None), "fp32", 4)
    (damage,) = found["damages"]
    assert damage == f"the checkpoint of step 3 is damaged ({state.name} is missing or changed on disk)"
    assert found["history"][:2] == wanted
    assert len(found["history"]) == 4
    assert sorted(path.name for path in work.iterdir()) == ["step-000002", "step-000004"]


if __name__ == "__main__":
    train_a_while(*json.loads(sys.argv[1]))
