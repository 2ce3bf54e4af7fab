"""How many parameters a model has, and of what shape it is, without loading its weights: forecasts need no more.

The headers of its safetensors files say it in milliseconds. A folder without any (a configuration alone, weights in
pickles) is built by transformers on torch's meta device, which allocates nothing but takes seconds to import.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from evolcoder.models import read_config
from evolcoder.settings.run import TrainSettings
from evolcoder.train.shape import ModelShape, shape_of, with_adapter_of


def read_shape(folder: Path, train: TrainSettings) -> ModelShape | None:
    """Of the model in ``folder``, with the adapter that is trained beside it; None where its files do not say."""
    parameters = parameter_count(folder)
    shape = None if parameters is None else shape_of(read_config(folder), parameters)
    return with_adapter_of(shape, train.lora.rank) if shape is not None and train.lora is not None else shape


def parameter_count(folder: Path) -> int | None:
    """Parameters of the decoder-only model in ``folder``, each tied weight once.

    None when its files cannot be read and transformers cannot build such a model; nothing is downloaded, and no code of the
    model's own is run.
    """
    from safetensors import SafetensorError, safe_open

    count = 0
    try:
        names = {"model.safetensors"}
        if not (folder / "model.safetensors").is_file():
            # The index, not a pattern: a folder may hold the same weights once more in another layout.
            index = json.loads((folder / "model.safetensors.index.json").read_text("utf-8"))
            names = set(index["weight_map"].values())
        # Older configurations leave the key out when it has its default, which is to tie.
        tied = json.loads((folder / "config.json").read_text("utf-8")).get("tie_word_embeddings", True)
        for name in names:
            with safe_open(folder / name, "np") as weights:
                for key in weights.keys():  # noqa: SIM118 (it is no mapping)
                    shape = weights.get_slice(key).get_shape()
                    # Some files hold the causal mask too, (1, 1, length, length), or the embedding again as the head.
                    mask = len(shape) == 4 and shape[:2] == [1, 1]
                    if not mask and not (tied and key == "lm_head.weight"):
                        count += math.prod(shape)
    except FileNotFoundError:  # the weights are not there, or not all of them
        return _built_parameters(folder)
    except SafetensorError:
        return None
    return count


def _built_parameters(folder: Path) -> int | None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()  # a plan is no place for the library's warnings about the file
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception:  # noqa: BLE001 (a model's own constructor runs on whatever the file says)
        return None
    return int(model.num_parameters())
