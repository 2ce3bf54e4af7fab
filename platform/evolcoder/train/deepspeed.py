"""From training settings to DeepSpeed's configuration and the working precision. Pure; the package itself is not needed."""

from __future__ import annotations

from typing import Any, Literal

from evolcoder.errors import TrainingError
from evolcoder.settings.run import TrainSettings

Precision = Literal["fp16", "bf16", "fp32"]

CPU_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""As /proc/cpuinfo names them: x86's two extensions, and Arm's."""

MOST_REDUCED_TOGETHER = 500_000_000
"""Gradients, as DeepSpeed has it; it makes a buffer for so many however few parameters are trained."""


def working_precision(settings: TrainSettings, gpu: bool, gpu_has_bf16: bool, cpu_flags: frozenset[str]) -> Precision:
    """The precision that ``train.precision`` means on this hardware.

    Raises:
        TrainingError: fp16 on a CPU, where neither DeepSpeed nor the processor is made for it.
    """
    if settings.precision == "auto":
        if gpu:
            return "bf16" if gpu_has_bf16 else "fp16"
        return "bf16" if cpu_flags & CPU_BF16_FLAGS else "fp32"
    if settings.precision == "fp16" and not gpu:
        raise TrainingError("train.precision=fp16 needs a GPU; on a CPU set it to auto, bf16 or fp32.")
    return settings.precision


def overlaps_communication(settings: TrainSettings, gpu: bool) -> bool:
    """Whether gradients go to the other workers, in a second buffer, while the backward pass goes on.

    It takes CUDA's streams, which a CPU has not, and others to send to: at the end of each pass it waits for the GPU.
    """
    return gpu and settings.workers > 1


def deepspeed_config(settings: TrainSettings, precision: Precision, gpu: bool) -> dict[str, Any]:
    """DeepSpeed's configuration.

    The optimizer is torch's fused AdamW everywhere: it runs on GPU and CPU, offloaded or not, and needs no compiler where
    DeepSpeed's own are built at first use. The learning rate is set by the loop at each step.
    """
    # Without ZeRO, DeepSpeed 0.19's 16-bit optimizer takes other steps than all its stages do, which agree with plain
    # 32-bit training; stage 1 divides only the optimizer's states, so it stands in for stage 0.
    zero: dict[str, Any] = {"stage": max(settings.zero_stage, 0 if precision == "fp32" else 1)}
    if zero["stage"] > 0:
        zero |= {"contiguous_gradients": True, "overlap_comm": overlaps_communication(settings, gpu)}
    # Page-locked memory, which a GPU copies from and to without the processor; a CPU has no use for it.
    host = {"device": "cpu", "pin_memory": gpu}
    if settings.offload is not None:
        zero["offload_optimizer"] = host
    if settings.offload == "all":
        zero["offload_param"] = host
    config: dict[str, Any] = {
        # What a step consists of is said to the engine at each step. Only that gradients are accumulated must be known before.
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 2,
        "gradient_clipping": 1.0,
        "steps_per_print": 1_000_000_000,  # never: the launcher shows progress
        # Else DeepSpeed refuses to offload any optimizer but its own, which is compiled at first use.
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": zero,
        "optimizer": {
            "type": "AdamW",
            "params": {
                "lr": settings.learning_rate,
                "betas": [0.9, 0.999],
                "eps": 1e-8,
                "weight_decay": settings.weight_decay,
                "torch_adam": True,
                "fused": True,
            },
        },
    }
    if precision == "bf16":
        config["bf16"] = {"enabled": True}
    elif precision == "fp16":
        # A loss scale of 0 means a dynamic one: from 2**16, lowered when a gradient overflows, doubled after 1,000 good steps.
        config["fp16"] = {"enabled": True, "loss_scale": 0, "initial_scale_power": 16, "loss_scale_window": 1000}
    if precision != "fp32":
        # Sums over many micro-batches lose small gradients in 16 bits.
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    return config
