"""Getting a model folder ready to decode: weights, tokenizer, number type, threads, and how much it can hold.

Refuses, with one sentence, what the decode loop cannot serve.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.utils.logging import disable_progress_bar

from evolcoder.errors import ModelError

_FALLBACK_LENGTH = 2048
_UNBOUNDED = 10**7


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to decode. ``max_model_len`` counts prompt and answer together."""

    model: Any
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    eos_ids: frozenset[int]
    max_model_len: int


def load_model(folder: Path, max_model_len: int | None, dtype: torch.dtype | None = None) -> LoadedModel:
    """Load a decoder-only model from a folder in Hugging Face's layout.

    Args:
        max_model_len: a shorter context than the model's own, or None.
        dtype: None chooses: bfloat16 where it is computed natively, else float32.

    Raises:
        ModelError: the folder holds no usable model, or one whose kind cannot be served.
    """
    disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype or best_dtype(device)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        _refuse_unservable(folder, config)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True).to(device).eval()
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{folder} cannot be loaded as a model ({type(error).__name__}: {reason}).") from error
    model.requires_grad_(False)
    longest = _context_length(config, tokenizer)
    if max_model_len is not None and max_model_len > longest:
        raise ModelError(f"serve.max_model_len={max_model_len} is more than the {longest} tokens that {folder} can hold.")
    eos_ids = _eos_ids(model.generation_config, tokenizer)
    return LoadedModel(model, tokenizer, device, dtype, eos_ids, max_model_len or longest)


def best_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a GPU and on CPUs that compute it (AVX512-BF16, AMX); elsewhere it would be slower than float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return torch.bfloat16 if native else torch.float32


def usable_cores(share: int = 1) -> int:
    """This process's part of the cores when ``share`` engines are on the machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // share)


def cache_budget_bytes(device: torch.device) -> int:
    """Memory that keys and values may fill: most of what the weights left on a GPU, a quarter of a machine's memory."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * 0.85)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4


def _refuse_unservable(folder: Path, config: Any) -> None:
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"{folder} is an encoder-decoder model ({config.model_type}); the transformers engine serves decoder-only models."
        )
    kinds = set(getattr(config, "layer_types", None) or []) - {"full_attention", "sliding_attention"}
    if kinds:
        raise ModelError(
            f"{folder} ({config.model_type}) has layers of the kind {', '.join(sorted(kinds))}; the transformers engine serves "
            "models whose layers are all attention."
        )


def _context_length(config: Any, tokenizer: Any) -> int:
    """The context that the model was made for. Sliding windows are not slid: they bound it instead."""
    named = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions", "max_seq_len")]
    sliding = getattr(config, "sliding_window", None)
    if sliding and "sliding_attention" not in (getattr(config, "layer_types", None) or ["sliding_attention"]):
        sliding = None
    lengths = [length for length in (*named, sliding) if isinstance(length, int) and length > 0]
    if not lengths:
        lengths = [tokenizer.model_max_length if tokenizer.model_max_length < _UNBOUNDED else _FALLBACK_LENGTH]
    return min(lengths)


def _eos_ids(generation: GenerationConfig, tokenizer: Any) -> frozenset[int]:
    """All tokens that end an answer, as the generation settings say, and the tokenizer's own."""
    named = generation.eos_token_id
    ids = set(named) if isinstance(named, list) else {named}
    ids.add(tokenizer.eos_token_id)
    return frozenset(token for token in ids if token is not None)
