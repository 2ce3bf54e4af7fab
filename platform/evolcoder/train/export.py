"""From a DeepSpeed engine to a model folder in Hugging Face's layout, which transformers loads and the endpoint serves.

The folder ends with the very EOS that training appended, the Alpaca chat template, and a card that says how the model
was made and wants to be prompted. It counts only once it was loaded again and gave finite logits.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import torch
import torch.distributed
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from evolcoder.errors import TrainingError
from evolcoder.models import CARD_FILE
from evolcoder.run.variants import TUNED
from evolcoder.text.rendering import alpaca_chat_template
from evolcoder.text.templates import alpaca_prompt
from evolcoder.train.deepspeed import Precision
from evolcoder.train.engine import DTYPES, load_model, with_adapter
from evolcoder.train.internals import full_state, gathered_weights
from evolcoder.train.job import ADAPTER_FOLDER, MODEL_FOLDER, TrainingJob

SHARD_SIZE = "5GB"


def export(engine: Any, tokenizer: Any, job: TrainingJob, precision: Precision) -> None:
    """Write the trained model to ``job.out/model``, and an adapter by itself beside it. Every rank calls it; rank 0 writes.

    Raises:
        TrainingError: the written model does not load, or its logits are not finite.
    """
    # Parts are gathered by all ranks together: none may leave before.
    weights = _adapter_weights(engine) if job.settings.lora else _all_weights(engine)
    if torch.distributed.get_rank() != 0 or weights is None:
        return
    # Beside the final place when that is a disk, so that publishing is a rename.
    nearby = job.out.make().local_path if job.out.is_local else None
    with tempfile.TemporaryDirectory(prefix="evolcoder-model-", dir=nearby) as temporary:
        folder = Path(temporary) / MODEL_FOLDER
        if job.settings.lora:
            merged = merge_adapter(weights, tokenizer, job, precision, Path(temporary) / ADAPTER_FOLDER)
            write_model(merged, merged.state_dict(), tokenizer, folder)
        else:
            write_model(engine.module, weights, tokenizer, folder)
        card = {"prompt_style": "wizardcoder", "base_model": job.settings.base_model, "data_rounds": job.variant.rounds[-1]}
        if job.variant.name != TUNED:
            card["variant"] = job.variant.label
        (folder / CARD_FILE).write_text(json.dumps(card, indent=1), "utf-8")
        verify_model(folder)
        for made in sorted(Path(temporary).iterdir()):
            # No manifest vouches for the old one: it went when training began.
            job.out.delete(made.name)
            place = job.out / made.name
            if nearby:
                shutil.move(made, place.local_path)
            else:
                pafs.copy_files(str(made), place.make().path, pafs.LocalFileSystem(), place.filesystem)


def _all_weights(engine: Any) -> dict[str, torch.Tensor] | None:
    if engine.zero_optimization_partition_weights():
        return gathered_weights(engine)
    return {name: weight.detach().cpu() for name, weight in engine.module.state_dict().items()}


def _adapter_weights(engine: Any) -> dict[str, torch.Tensor]:
    """In 32 bits, as they were trained."""
    trained = [(name, parameter) for name, parameter in engine.module.named_parameters() if parameter.requires_grad]
    return {name: full_state(engine, parameter, "weight").detach().cpu() for name, parameter in trained}


def merge_adapter(
    weights: dict[str, torch.Tensor], tokenizer: Any, job: TrainingJob, precision: Precision, folder: Path
) -> Any:
    """Save an adapter with these weights to ``folder``; returns the base model with it merged in, in the working precision.

    They are merged in 32 bits: what an adapter adds is often less than 16 bits tell apart.
    """
    assert job.settings.lora is not None
    model = with_adapter(load_model(job.base_model, "fp32"), job.settings.lora)
    model.load_state_dict(weights, strict=False)
    model.peft_config["default"].base_model_name_or_path = job.settings.base_model
    model.save_pretrained(folder)
    tokenizer.chat_template = alpaca_chat_template(tokenizer)
    tokenizer.save_pretrained(folder)
    return model.merge_and_unload().to(DTYPES[precision])


def write_model(model: Any, weights: dict[str, torch.Tensor], tokenizer: Any, folder: Path) -> None:
    """Save weights, configuration, tokenizer and generation configuration; ``tokenizer`` gets the chat template."""
    tokenizer.chat_template = alpaca_chat_template(tokenizer)
    rows = model.config.get_text_config().vocab_size
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= rows:  # some tokenizers have a pad that the model has not
        tokenizer.pad_token = tokenizer.eos_token
    ends = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    model.generation_config = GenerationConfig(**ends)
    model.config.update(ends | {"use_cache": True})
    model.save_pretrained(folder, state_dict=weights, max_shard_size=SHARD_SIZE)
    for file in folder.glob("*.safetensors"):  # written for the owner alone, unlike the rest
        file.chmod((folder / "config.json").stat().st_mode)
    tokenizer.save_pretrained(folder)


def verify_model(folder: Path) -> None:
    """Load the folder as a user would, and look at the logits of one prompt.

    Raises:
        TrainingError: it does not load whole, or a logit is not finite.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model, report = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", output_loading_info=True)
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"The exported model does not load: {' '.join(str(error).split())[:300]}") from error
    if report["missing_keys"]:
        raise TrainingError(f"The exported model lacks weights: {', '.join(sorted(report['missing_keys'])[:5])}.")
    with torch.inference_mode():
        prompt = tokenizer([alpaca_prompt("Write a function that adds two numbers.")], return_tensors="pt")
        logits = model(input_ids=prompt["input_ids"]).logits
    if not math.isfinite(float(logits.float().abs().max())):
        raise TrainingError("The exported model's logits are not finite; lower train.learning_rate and train again.")
