"""A DeepSpeed engine around the base model, or around an adapter of it. It knows nothing of Ray, files or schedules."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from transformers import AutoConfig, AutoModelForCausalLM

from evolcoder.errors import ModelError, TrainingError
from evolcoder.models import load_weights
from evolcoder.settings.run import LoraSettings
from evolcoder.train.attention import PACKED
from evolcoder.train.deepspeed import MOST_REDUCED_TOGETHER, Precision, deepspeed_config
from evolcoder.train.internals import use_no_compiled_collectives, whole_shape
from evolcoder.train.job import TrainingJob
from evolcoder.train.memory import fitting, on_cpu
from evolcoder.train.model_size import read_shape
from evolcoder.train.schedule import micro_batch_size

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def settle(job: TrainingJob, precision: Precision) -> TrainingJob:
    """The job with the micro-batch and recomputation that the settings leave open, the same on every worker.

    Collectives are set up here: before the model, which ZeRO-3 divides among the workers while it is loaded.
    """
    import deepspeed

    if not job.gpu:
        use_no_compiled_collectives()
    deepspeed.init_distributed()
    shape = read_shape(job.base_model, job.settings)
    if not job.gpu:
        rows, recompute = on_cpu(job.settings, shape)
    elif shape is None:
        rows, recompute = micro_batch_size(job.settings, gpu=True), job.settings.gradient_checkpointing is not False
    else:
        smallest = torch.tensor(torch.cuda.mem_get_info()[1], device="cuda")
        torch.distributed.all_reduce(smallest, torch.distributed.ReduceOp.MIN)
        rows, recompute = fitting(job.settings, shape, precision, int(smallest))
    return replace(
        job, settings=job.settings.model_copy(update={"micro_batch_size": rows, "gradient_checkpointing": recompute})
    )


def build_engine(job: TrainingJob, precision: Precision) -> Any:
    """A DeepSpeed engine around the base model, ready to train.

    Args:
        job: with nothing left open, as ``settle`` makes it.
    """
    import deepspeed

    config = deepspeed_config(job.settings, precision, job.gpu)
    model = load_model(job.base_model, precision, config)
    _set_attention(model, job)
    if job.settings.lora is not None:
        model = with_adapter(model, job.settings.lora)
    if job.settings.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    trained = sum(math.prod(whole_shape(one)) for one in model.parameters() if one.requires_grad)
    config["zero_optimization"]["reduce_bucket_size"] = min(MOST_REDUCED_TOGETHER, trained)
    engine, *_ = deepspeed.initialize(model=model, config=config, model_parameters=_parameter_groups(model, job))
    return engine


def _set_attention(model: Any, job: TrainingJob) -> None:
    if job.packs:
        model.set_attn_implementation(PACKED)
    elif job.settings.attention != "auto":
        try:
            model.set_attn_implementation(job.settings.attention)
        except (ImportError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise TrainingError(f"train.attention={job.settings.attention} cannot be had here: {reason}") from error


def load_model(folder: Path, precision: Precision, config: dict[str, Any] | None = None) -> Any:
    """The base model in this precision; with a configuration of ZeRO-3, each worker holds only its part from the start."""
    from transformers.integrations import HfDeepSpeedConfig

    partitioned = HfDeepSpeedConfig(config) if config and config["zero_optimization"]["stage"] == 3 else None
    try:
        return load_weights(AutoModelForCausalLM, folder, AutoConfig.from_pretrained(folder), DTYPES[precision])
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise TrainingError(f"The base model in {folder} cannot be loaded: {reason}") from error
    except RuntimeError as error:
        if "size mismatch" not in str(error):  # which ZeRO-3's own way of loading raises
            raise
        raise ModelError(f"{folder} has weights of other sizes than its config.json says.") from error
    finally:
        del partitioned  # transformers partitions every model that is loaded while this object lives


def with_adapter(model: Any, lora: LoraSettings) -> Any:
    """The model with low-rank matrices beside its own, which alone are trained (Hu et al. 2021).

    Raises:
        TrainingError: no layer is called as one of the targets is.
    """
    from peft import LoraConfig, get_peft_model

    linear = {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    targets: str | list[str] = "all-linear" if lora.targets == "all-linear" else list(lora.targets)
    for target in lora.targets if isinstance(targets, list) else ():
        if not any(name == target or name.endswith(f".{target}") for name, _ in model.named_modules()):
            raise TrainingError(
                f"train.lora.targets: no layer of the base model is called {target!r}; its linear layers are "
                f"{', '.join(sorted(linear))}."
            )
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM"
    )  # fmt: skip
    return get_peft_model(model, config)


def _parameter_groups(model: Any, job: TrainingJob) -> list[dict[str, Any]]:
    """Weight decay is for matrices; norms and biases have none."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if job.settings.weight_decay == 0:
        return [{"params": trained}]
    matrices = [parameter for parameter in trained if len(whole_shape(parameter)) > 1]
    others = [parameter for parameter in trained if len(whole_shape(parameter)) <= 1]
    return [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
