"""The forecast of memory: how its parts divide, what is chosen to fit, and what a training really held."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.settings.run import TrainSettings
from evolcoder.train.deepspeed import MOST_REDUCED_TOGETHER
from evolcoder.train.memory import PROCESS_BYTES, USABLE_SHARE, fitting, forecast_memory, on_cpu
from evolcoder.train.shape import ModelShape, with_adapter_of

SEVEN_BILLION = ModelShape(
    parameters=6_738_415_616, layers=32, hidden=4096, queries=4096, keys=4096, inner=11008, vocabulary=32000, tied=False,
    learned_positions=0, gated=True, dropout=False,
)  # fmt: skip
ONE_BILLION = ModelShape(
    parameters=1_137_207_296, layers=24, hidden=2048, queries=2048, keys=128, inner=8192, vocabulary=49152, tied=True,
    learned_positions=8192, gated=False, dropout=False,
)  # fmt: skip
GIB = 1 << 30


def settings(**train: Any) -> TrainSettings:
    return TrainSettings.model_validate({"max_steps": 1, "global_batch_size": 64, **train})


def forecast(shape: ModelShape = SEVEN_BILLION, tokens: int = 2048, recompute: bool = True, **train: Any) -> Any:
    return forecast_memory(settings(**train), shape, "bf16", True, tokens, recompute)


def test_each_stage_divides_one_more_part() -> None:
    one = forecast(zero_stage=1)
    assert one.weights == 2 * SEVEN_BILLION.parameters
    assert one.optimizer == 12 * SEVEN_BILLION.parameters
    parts = [forecast(zero_stage=stage, workers=8) for stage in (1, 2, 3)]
    assert [part.optimizer for part in parts] == [one.optimizer // 8] * 3
    buffers = 2 * 2 * MOST_REDUCED_TOGETHER
    assert parts[0].gradients == 4 * SEVEN_BILLION.parameters + buffers
    assert parts[1].gradients == parts[2].gradients == 4 * SEVEN_BILLION.parameters // 8 + buffers
    assert [part.weights for part in parts] == [one.weights, one.weights, one.weights // 8]
    assert len({(part.activations, part.logits) for part in [one, *parts]}) == 1


def test_offloading_moves_the_parts_that_it_says() -> None:
    moved, all_moved = forecast(offload="optimizer"), forecast(offload="all", zero_stage=3)
    assert (moved.optimizer, moved.weights) == (0, 2 * SEVEN_BILLION.parameters)
    assert (all_moved.optimizer, all_moved.weights) == (0, 0)
    assert all_moved.activations == forecast().activations


def test_an_adapter_needs_gradients_and_moments_for_itself_alone() -> None:
    shape = with_adapter_of(SEVEN_BILLION, 16)
    assert shape.adapter == pytest.approx(40e6, rel=0.01)
    found = forecast(shape)
    assert found.weights == forecast().weights
    assert found.optimizer == 12 * shape.trained
    assert found.total < 0.2 * forecast().total


@given(
    tokens=st.integers(64, 1 << 15), workers=st.sampled_from([1, 2, 4, 8]), stage=st.sampled_from([0, 1, 2, 3]),
    precision=st.sampled_from(["bf16", "fp16", "fp32"]),
)  # fmt: skip
def test_more_workers_and_higher_stages_never_need_more(tokens: int, workers: int, stage: int, precision: Any) -> None:
    def total(recompute: bool = False, **train: Any) -> int:
        chosen = settings(**{"workers": workers, "zero_stage": stage, **train})
        return forecast_memory(chosen, SEVEN_BILLION, precision, True, tokens, recompute).total

    assert total(workers=2 * workers) <= total()
    assert total(recompute=True) < total()
    if 0 < stage < 3:
        assert total(zero_stage=stage + 1) <= total()


@given(
    gib=st.integers(8, 200), batch=st.integers(1, 64), length=st.sampled_from([256, 1024, 2048, 4096]),
    recompute=st.sampled_from(["auto", True, False]), micro=st.sampled_from([None, 1, 2]),
)  # fmt: skip
def test_what_is_chosen_is_allowed_and_fits_where_anything_does(
    gib: int, batch: int, length: int, recompute: Any, micro: int | None
) -> None:
    if micro and batch % micro:
        batch *= micro
    chosen = settings(global_batch_size=batch, sequence_length=length, gradient_checkpointing=recompute, micro_batch_size=micro)
    rows, again = fitting(chosen, ONE_BILLION, "bf16", gib * GIB)
    assert batch % rows == 0
    assert micro in (None, rows)
    assert recompute in ("auto", again)

    def fits(size: int, recomputed: bool) -> bool:
        tokens = size * length
        return forecast_memory(chosen, ONE_BILLION, "bf16", True, tokens, recomputed).total <= USABLE_SHARE * gib * GIB

    if not fits(rows, again):
        assert rows == (micro or 1)
        assert not fits(rows, recompute is not False)


@pytest.mark.parametrize(
    ("gib", "rows", "recompute"),
    [(80, 4, False), (32, 2, False), (28, 4, True), (10, 1, True)],
)
def test_activations_are_kept_where_they_fit_in_micro_batches_that_fill_a_gpu(gib: int, rows: int, recompute: bool) -> None:
    assert fitting(settings(), ONE_BILLION, "bf16", gib * GIB) == (rows, recompute)


@pytest.mark.parametrize(
    ("train", "ways"),
    [
        ({}, "raise train.workers, raise train.zero_stage, set train.offload, or train an adapter (train.lora)."),
        (
            {"zero_stage": 3, "offload": "all", "lora": {}, "gradient_checkpointing": False},
            "raise train.workers, or set train.gradient_checkpointing=true.",
        ),
    ],
)
def test_a_lack_of_memory_is_told_with_what_took_it_and_what_is_left_to_do(
    tiny_model: Path, tmp_path: Path, train: dict[str, Any], ways: str
) -> None:
    from evolcoder.run.variants import up_to
    from evolcoder.storage.folders import Folder
    from evolcoder.train.job import TrainingJob
    from evolcoder.train.loop import _out_of_memory

    chosen = settings(**{"micro_batch_size": 4, "gradient_checkpointing": True, **train})
    place = Folder.open(str(tmp_path))
    job = TrainingJob(chosen, tiny_model, up_to(0), 1, True, True, place, place, None)
    said = _out_of_memory(job, "bf16")
    assert said.startswith(
        f"Out of memory with micro-batches of 4 x 2048 tokens at ZeRO stage {chosen.zero_stage}, which take about "
    )
    assert re.search(
        r"GiB a worker \(weights \d+\.\d, gradients \d+\.\d, optimizer \d.*, activations \d.*, logits \d+\.\d\): ", said
    )
    assert said.endswith(f": lower train.micro_batch_size or train.sequence_length, {ways}")


@pytest.mark.long
@pytest.mark.parametrize(
    "train",
    [
        {"sequence_length": 512},
        {"sequence_length": 512, "gradient_checkpointing": True, "micro_batch_size": 2},
        {"sequence_length": 256, "micro_batch_size": 1, "lora": {"rank": 8}},
    ],
)
def test_a_training_of_the_embedded_model_holds_what_was_forecast(
    local_ray: None, make_run: Any, row: Any, watch: Any, train: dict[str, Any]
) -> None:
    """On this machine's own precision; every micro-batch is full, as with real rows when they are packed."""
    import json

    from tests.train.conftest import training

    from evolcoder.embedded import embedded_model_folder
    from evolcoder.train.launch import train as train_model
    from evolcoder.train.model_size import read_shape

    rows = [row(n, 0, f"Write program {n}.", f"\nprint({n})" + " # and more" * 400) for n in range(8)]
    chosen, run = make_run(rows=rows, global_batch_size=8, precision="auto", max_steps=2, **train)
    base = embedded_model_folder()
    manifest = train_model(chosen, run, training(chosen, run), base, watch())
    *_, last = run.train(1).read_text("metrics.jsonl").splitlines()
    shape = read_shape(base, chosen.train)
    assert shape is not None
    size, recompute = on_cpu(chosen.train, shape)
    tokens = size * chosen.train.sequence_length
    found = forecast_memory(chosen.train, shape, manifest.summary["precision"], False, tokens, recompute)
    measured = json.loads(last)["memory_bytes"]
    assert found.total + PROCESS_BYTES == pytest.approx(measured, rel=0.2), (found, measured)
