"""Loading a model folder for decoding: weights, tokenizer, number type, context length, memory for the cache.

What cannot be served is refused with a message of one sentence. Code in a folder is never run.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig
from transformers.utils.logging import disable_progress_bar

from evolcoder.errors import ModelError
from evolcoder.models import COPY_TOKENIZER, check_tokenizer, load_weights
from evolcoder.serve.engines.folder import check_folder

_FALLBACK_LENGTH = 2048
_UNBOUNDED = 10**7
"""transformers gives a tokenizer without a limit a ``model_max_length`` of about 1e30."""
_LOADING_FAULTS = (
    OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError, EOFError,
    SafetensorError, StrictDataclassError, UnpicklingError,
)  # fmt: skip
_GENERATES = ("causallm", "lmhead", "conditionalgeneration", "mtmodel")
"""Parts of the names of classes that generate text; BertForMaskedLM and T5EncoderModel have none of them."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to decode.

    ``eos_ids``: all tokens that end an answer: those of the generation settings (one or several), and the tokenizer's own.
    ``decoder_start``: the tokens before an encoder-decoder's answer, not part of it; empty for a decoder-only model.
    ``max_model_len``: tokens of prompt and answer together; of each of the two where an encoder reads the prompt.
    ``vocabulary``: how many tokens the model's embedding has; a tokenizer may know more.
    """

    model: Any
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    eos_ids: frozenset[int]
    max_model_len: int
    decoder_start: tuple[int, ...]
    vocabulary: int

    def answer_room(self, prompt_tokens: int) -> int:
        """The most tokens that an answer to such a prompt may have; none where the prompt itself is too long."""
        if not self.decoder_start:
            return self.max_model_len - prompt_tokens
        return self.max_model_len - len(self.decoder_start) if prompt_tokens <= self.max_model_len else 0


def load_model(folder: Path, max_model_len: int | None, dtype: torch.dtype | None = None) -> LoadedModel:
    """Load a model that generates text from a folder in Hugging Face's layout. No code in the folder is run.

    Args:
        max_model_len: a shorter context than the model's own, or None.
        dtype: None chooses: bfloat16 where it is computed natively, else float32.

    Raises:
        ModelError: the folder holds no usable model, or one whose kind cannot be served.
    """
    disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    own_code = check_folder(folder).get("auto_map")
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        tokenizer = _read_tokenizer(folder)
        dtype = dtype or _best_dtype(device, config)
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        named = config.architectures or []
        if named and not any(word in name.lower() for name in named for word in _GENERATES):
            raise ModelError(
                f"{folder} holds a {named[0]}, which does not generate text; give a causal or encoder-decoder model."
            )
        model = load_weights(kind, folder, config, dtype).to(device).eval()
    except _LOADING_FAULTS as error:
        if own_code and "trust_remote_code" in str(error):
            raise ModelError(
                f"{folder} needs code of its own, and code out of a model folder is not run; give a model of a kind that "
                "transformers knows."
            ) from error
        raise ModelError(f"{folder} cannot be loaded as a model ({_reason(error)}).") from error
    model.requires_grad_(False)
    longest = _context_length(config, tokenizer)
    if max_model_len is not None and max_model_len > longest:
        raise ModelError(f"serve.max_model_len={max_model_len} is more than the {longest} tokens that {folder} can hold.")
    generation = model.generation_config
    ends = generation.eos_token_id if isinstance(generation.eos_token_id, list) else [generation.eos_token_id]
    return LoadedModel(
        model,
        tokenizer,
        device,
        dtype,
        frozenset(token for token in [*ends, tokenizer.eos_token_id] if token is not None),
        max_model_len or longest,
        _decoder_start(folder, config, generation),
        model.get_input_embeddings().weight.shape[0],
    )


def _best_dtype(device: torch.device, config: Any) -> torch.dtype:
    """bfloat16 on a GPU and on CPUs that compute it (AVX512-BF16, AMX); elsewhere it would be slower than float32.

    Encoder-decoders (T5) overflow in float16, so an old GPU computes those in float32.
    """
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported():
            return torch.bfloat16
        return torch.float32 if config.is_encoder_decoder else torch.float16
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return torch.bfloat16 if native else torch.float32


def usable_cores(share: int) -> int:
    """The cores for one of ``share`` engines on this machine; the process's CPU affinity counts, as containers set it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // share)


def cache_budget_bytes(device: torch.device) -> int:
    """Memory for keys and values: most of what the weights left on a GPU, or a quarter of the machine's memory.

    On a GPU 15 % stay free for activations. A machine's memory also holds Ray's object store and the other processes.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * 0.85)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4


def _reason(error: Exception) -> str:
    """An exception's type and its first sentence."""
    return f"{type(error).__name__}: {' '.join(str(error).split()).partition('. ')[0][:300].rstrip('.')}"


def _read_tokenizer(folder: Path) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except _LOADING_FAULTS as error:
        if "trust_remote_code" in str(error):
            raise
        raise ModelError(f"{folder} has no tokenizer that can be read ({_reason(error)}); {COPY_TOKENIZER}.") from error
    check_tokenizer(tokenizer, folder)
    return tokenizer


def _decoder_start(folder: Path, config: Any, generation: GenerationConfig) -> tuple[int, ...]:
    if not config.is_encoder_decoder:
        return ()
    named = (generation.decoder_start_token_id, getattr(config, "decoder_start_token_id", None), generation.bos_token_id)
    start = next((token for token in named if token is not None), None)
    if start is None:
        raise ModelError(f"{folder} does not say what its answers begin with; set decoder_start_token_id in its config.json.")
    forced = generation.forced_bos_token_id
    return (start,) if forced is None else (start, forced)


def _context_length(config: Any, tokenizer: Any) -> int:
    """The context that the model was made for. T5's relative positions set no bound; its training length is the least."""
    text = config.get_text_config()
    if hasattr(text, "relative_attention_num_buckets"):
        return max(_FALLBACK_LENGTH, getattr(text, "n_positions", 0))
    named = [getattr(text, name, None) for name in ("max_position_embeddings", "n_positions", "max_seq_len")]
    lengths = [length for length in named if isinstance(length, int) and length > 0]
    if not lengths:
        lengths = [tokenizer.model_max_length if tokenizer.model_max_length < _UNBOUNDED else _FALLBACK_LENGTH]
    return min(lengths)
