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
from evolcoder.train.internals import gathered_weights
from evolcoder.train.job import MODEL_FOLDER, TrainingJob

SHARD_SIZE = "5GB"


def export(engine: Any, tokenizer: Any, job: TrainingJob) -> None:
    """Write the trained model to ``job.out/model``. Every rank calls it; rank 0 writes.

    Raises:
        TrainingError: the written model does not load, or its logits are not finite.
    """
    # ZeRO-3's parts are gathered by all ranks together: none may leave before.
    gathered = gathered_weights(engine) if engine.zero_optimization_partition_weights() else None
    if torch.distributed.get_rank() != 0:
        return
    weights = gathered or {name: weight.detach().cpu() for name, weight in engine.module.state_dict().items()}
    # Beside the final place when that is a disk, so that publishing is a rename.
    nearby = job.out.make().local_path if job.out.is_local else None
    with tempfile.TemporaryDirectory(prefix="evolcoder-model-", dir=nearby) as temporary:
        folder = Path(temporary) / MODEL_FOLDER
        write_model(engine.module, weights, tokenizer, folder)
        card = {"prompt_style": "wizardcoder", "base_model": job.settings.base_model, "data_rounds": job.variant.rounds[-1]}
        if job.variant.name != TUNED:
            card["variant"] = job.variant.label
        (folder / CARD_FILE).write_text(json.dumps(card, indent=1), "utf-8")
        verify_model(folder)
        # No manifest vouches for the old one: it went when training began.
        job.out.delete(MODEL_FOLDER)
        place = job.out / MODEL_FOLDER
        if nearby:
            shutil.move(folder, place.local_path)
        else:
            pafs.copy_files(str(folder), place.make().path, pafs.LocalFileSystem(), place.filesystem)


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
