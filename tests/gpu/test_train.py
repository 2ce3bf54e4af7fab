"""Training on a GPU: needs one, and the embedded model."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from evolcoder.console import Reporter
from evolcoder.records import INSTRUCTION_SCHEMA, Instruction
from evolcoder.run.folder import RunFolder
from evolcoder.settings.files import parse_settings
from evolcoder.storage.stage import Stage, describe_file


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize(("precision", "zero", "offload"), [("auto", 2, None), ("fp16", 3, "all")])
def test_the_embedded_model_learns_on_a_gpu(
    local_ray: None, tmp_path: Path, precision: str, zero: int, offload: str | None
) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    from evolcoder.embedded import embedded_model_fingerprint, embedded_model_folder
    from evolcoder.train.identity import train_stage
    from evolcoder.train.launch import train

    chosen = {
        "max_steps": 6, "global_batch_size": 4, "sequence_length": 256, "learning_rate": 1e-4, "warmup_steps": 1,
        "precision": precision, "zero_stage": zero, "offload": offload, "checkpoint_steps": 3,
    }  # fmt: skip
    settings = parse_settings({"name": "gpu", "storage": str(tmp_path), "evolve": {"rounds": 1}, "train": chosen}, "test")
    run = RunFolder.open(settings)
    rows = [
        Instruction(f"id{n}", 0, None, f"id{n}", "seed", f"Print {n}.", "", f"\nprint({n})", "t", "s", 1, 1, [], "kept", None)
        for n in range(8)
    ]
    run.dataset.make()
    table = pa.Table.from_pylist([row.to_row() for row in rows], schema=INSTRUCTION_SCHEMA)
    with run.dataset.open_output("train-00000.arrow") as file, pa.ipc.new_file(file, INSTRUCTION_SCHEMA) as writer:
        writer.write_table(table)
    Stage("dataset", run.dataset, {}).publish([describe_file(run.dataset, "train-00000.arrow", len(rows))])

    stage = train_stage(settings, run, (), Stage("dataset", run.dataset, {}), embedded_model_fingerprint)
    manifest = train(settings, run, stage, embedded_model_folder(), Reporter("json"))
    losses = [json.loads(line)["loss"] for line in run.train(1).read_text("metrics.jsonl").splitlines()]
    assert len(losses) == 6
    assert losses[-1] < losses[0]
    assert manifest.summary["precision"] in ({"fp16"} if precision == "fp16" else {"fp16", "bf16"})
