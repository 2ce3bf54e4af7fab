from __future__ import annotations

from typing import Any

import pytest

from evolcoder.errors import TrainingError
from evolcoder.settings.files import parse_settings, preset_names, preset_text
from evolcoder.settings.run import RunSettings, TrainSettings
from evolcoder.train.deepspeed import deepspeed_config, working_precision
from evolcoder.train.schedule import micro_batch_size

NO_FLAGS: frozenset[str] = frozenset()
HOST = {"device": "cpu", "pin_memory": False}


def preset(name: str) -> RunSettings:
    import yaml

    return parse_settings(yaml.safe_load(preset_text(name, "x")), name)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_gives_batches_that_add_up(name: str) -> None:
    train = preset(name).train
    gpu = train.precision == "fp16"
    precision = working_precision(train, gpu, gpu_has_bf16=False, cpu_flags=NO_FLAGS)
    config = deepspeed_config(train, precision, gpu)
    assert train.global_batch_size % (micro_batch_size(train, gpu) * train.workers) == 0
    assert config["gradient_accumulation_steps"] > 1
    assert config["gradient_clipping"] == 1.0
    assert config["zero_optimization"]["stage"] == train.zero_stage


def test_16_bits_without_zero_run_as_stage_1_whose_steps_are_right() -> None:
    assert deepspeed_config(TrainSettings(zero_stage=0), "bf16", gpu=False)["zero_optimization"]["stage"] == 1


def test_the_papers_preset_is_fp16_with_dynamic_loss_scale_under_zero_3() -> None:
    train = preset("wizardcoder-15b").train
    config = deepspeed_config(train, working_precision(train, True, True, NO_FLAGS), gpu=True)
    assert config["fp16"]["enabled"] is True
    assert config["fp16"]["loss_scale"] == 0
    assert config["zero_optimization"]["stage"] == 3
    assert config["optimizer"]["params"]["lr"] == 2e-5
    assert (train.global_batch_size, train.max_steps, train.warmup_steps, train.schedule) == (512, 200, 30, "cosine")


@pytest.mark.parametrize(
    ("zero", "offload", "expected"),
    [
        (0, None, {"stage": 0}),
        (2, None, {"stage": 2, "contiguous_gradients": True, "overlap_comm": False}),
        (1, "optimizer", {"offload_optimizer": HOST}),
        (3, "all", {"offload_optimizer": HOST, "offload_param": HOST}),
    ],
)
def test_zero_and_offload(zero: int, offload: str | None, expected: dict[str, Any]) -> None:
    train = TrainSettings.model_validate({"zero_stage": zero, "offload": offload})
    made = deepspeed_config(train, "fp32", gpu=False)["zero_optimization"]
    assert {key: made[key] for key in expected} == expected
    if offload is None:
        assert "offload_optimizer" not in made


def test_16_bit_gradients_are_summed_in_32_bits() -> None:
    assert deepspeed_config(TrainSettings(zero_stage=2), "bf16", gpu=False)["data_types"] == {"grad_accum_dtype": "fp32"}
    assert "data_types" not in deepspeed_config(TrainSettings(zero_stage=2), "fp32", gpu=False)
    assert "bf16" not in deepspeed_config(TrainSettings(zero_stage=2), "fp32", gpu=False)


@pytest.mark.parametrize(
    ("asked", "gpu", "gpu_bf16", "flags", "expected"),
    [
        ("auto", True, True, NO_FLAGS, "bf16"),
        ("auto", True, False, frozenset({"avx512_bf16"}), "fp16"),
        ("auto", False, False, frozenset({"avx2", "avx512_bf16"}), "bf16"),
        ("auto", False, False, frozenset({"amx_bf16"}), "bf16"),
        ("auto", False, False, frozenset({"avx2", "avx512f"}), "fp32"),
        ("bf16", False, False, NO_FLAGS, "bf16"),
        ("fp32", True, True, NO_FLAGS, "fp32"),
    ],
)
def test_the_working_precision(asked: str, gpu: bool, gpu_bf16: bool, flags: frozenset[str], expected: str) -> None:
    train = TrainSettings.model_validate({"precision": asked})
    assert working_precision(train, gpu, gpu_bf16, flags) == expected


def test_fp16_on_a_cpu_is_refused_with_what_to_do() -> None:
    with pytest.raises(TrainingError, match="needs a GPU"):
        working_precision(TrainSettings(precision="fp16"), False, False, NO_FLAGS)
