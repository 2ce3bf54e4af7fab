"""Random models of several architectures, small enough to make in a moment, with a tokenizer of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SPECIALS = ["<|end|>", "<|user|>", "<fim_prefix>", "<fim_suffix>", "<fim_middle>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}"
    "<|user|>{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
)

_SIZES: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip
_GPT_SIZES: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
CONFIGS = {
    "llama": transformers.LlamaConfig(**_SIZES),
    "mistral": transformers.MistralConfig(**_SIZES, sliding_window=None),
    "qwen2": transformers.Qwen2Config(**{**_SIZES, "num_key_value_heads": 1}),
    "gpt2": transformers.GPT2Config(**_GPT_SIZES),
    "gpt_bigcode": transformers.GPTBigCodeConfig(**_GPT_SIZES, multi_query=True),
    "gpt_bigcode_mha": transformers.GPTBigCodeConfig(**_GPT_SIZES, multi_query=False),
    "codegen": transformers.CodeGenConfig(**_GPT_SIZES, rotary_dim=4),
    "starcoder2": transformers.Starcoder2Config(**_SIZES, sliding_window=24),
    "gpt_neo": transformers.GPTNeoConfig(
        hidden_size=32, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], window_size=16
    ),
    "bloom": transformers.BloomConfig(hidden_size=32, n_layer=2, n_head=4),
    "mamba": transformers.MambaConfig(hidden_size=32, num_hidden_layers=2, state_size=8),
    "t5": transformers.T5Config(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4),
    "bart": transformers.BartConfig(
        d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=48, decoder_ffn_dim=48, forced_eos_token_id=None,
    ),
    "bert": transformers.BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48),
}  # fmt: skip


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes are tokens; so a character may need several, and no stop string is one token."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=SPECIALS[0], clean_up_tokenization_spaces=False)
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIALS[1:]})
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Call with an architecture's name to get the folder of such a model."""
    made: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in made:
            made[kind] = make_tiny_model(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return get


def make_tiny_model(folder: Path, kind: str, seed: int = 0) -> Path:
    """Write a random model of this architecture; its weights are large enough for decided answers."""
    tokenizer = tiny_tokenizer()
    config = CONFIGS[kind].__class__(**CONFIGS[kind].to_diff_dict())
    config.vocab_size = len(tokenizer)
    config.initializer_range = config.init_std = 0.3
    config.initializer_factor = 4.0
    config.max_position_embeddings = 128
    config.bos_token_id = None
    config.eos_token_id = config.pad_token_id = tokenizer.eos_token_id
    if config.is_encoder_decoder:
        config.decoder_start_token_id = tokenizer.convert_tokens_to_ids("<|user|>")
    torch.manual_seed(seed)
    maker = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    if kind == "bert":
        maker = transformers.AutoModelForMaskedLM
    maker.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
