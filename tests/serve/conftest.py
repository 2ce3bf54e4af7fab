"""Random models of several architectures, small enough to make in a moment, with a tokenizer of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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

CONFIGS = {
    "llama": transformers.LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    ),
    "gpt_bigcode": transformers.GPTBigCodeConfig(n_embd=32, n_layer=2, n_head=4, n_positions=128, multi_query=True),
    "codegen": transformers.CodeGenConfig(n_embd=32, n_layer=2, n_head=4, n_positions=128, rotary_dim=4),
    "qwen2": transformers.Qwen2Config(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=1
    ),
    "bloom": transformers.BloomConfig(hidden_size=32, n_layer=2, n_head=4),
    "t5": transformers.T5Config(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4),
}


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
    config.initializer_range = 0.3
    config.max_position_embeddings = 128
    config.bos_token_id = None
    config.eos_token_id = tokenizer.eos_token_id
    config.pad_token_id = tokenizer.eos_token_id
    torch.manual_seed(seed)
    maker = transformers.AutoModelForSeq2SeqLM if kind == "t5" else transformers.AutoModelForCausalLM
    model = maker.from_config(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
