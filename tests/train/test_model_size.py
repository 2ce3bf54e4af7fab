from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evolcoder.train.model_size import parameter_count

LLAMA = {
    "vocab_size": 260, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
GPT = {"vocab_size": 260, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "eos_token_id": 0, "bos_token_id": 0}
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", LLAMA),
    "llama, tied": ("llama", {**LLAMA, "tie_word_embeddings": True}),
    "qwen2": ("qwen2", LLAMA),
    "starcoder2": ("starcoder2", LLAMA),
    "gpt_bigcode": ("gpt_bigcode", {**GPT, "multi_query": True}),
    "gpt2": ("gpt2", GPT),
    "codegen": ("codegen", {**GPT, "rotary_dim": 4, "tie_word_embeddings": False}),
    "mamba": ("mamba", {"vocab_size": 260, "hidden_size": 32, "num_hidden_layers": 2}),
}


def build(shape: str) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    kind, options = SHAPES[shape]
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **options))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shards", [1, 3])
def test_the_headers_of_the_weights_say_what_the_model_has(shape: str, shards: int, tmp_path: Path) -> None:
    model = build(shape)
    model.save_pretrained(tmp_path, max_shard_size=4 * model.num_parameters() // shards + 4096)
    assert len(list(tmp_path.glob("*.safetensors"))) >= min(shards, 2)
    assert parameter_count(tmp_path) == model.num_parameters()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_configuration_alone_says_the_same(shape: str, tmp_path: Path) -> None:
    model = build(shape)
    model.config.save_pretrained(tmp_path)
    assert parameter_count(tmp_path) == model.num_parameters()


def test_starcoder_is_measured_from_its_configuration(tmp_path: Path) -> None:
    config = {"model_type": "gpt_bigcode", "n_embd": 6144, "n_layer": 40, "n_head": 48, "n_inner": 24576, "vocab_size": 49152}
    (tmp_path / "config.json").write_text(json.dumps({**config, "multi_query": True, "n_positions": 8192}), "utf-8")
    assert parameter_count(tmp_path) == 15_517_456_384


def test_masks_and_a_head_that_is_the_embedding_again_do_not_count(tmp_path: Path) -> None:
    """As the files of GPT-2 and of some of its heirs have them; their configurations say nothing of tying."""
    import torch
    from safetensors.torch import load_file, save_file

    model = build("gpt2")
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["transformer.h.0.attn.bias"] = torch.ones(1, 1, 64, 64)
    weights["lm_head.weight"] = weights["transformer.wte.weight"].clone()
    save_file(weights, tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "tie_word_embeddings"}), "utf-8")
    assert parameter_count(tmp_path) == model.num_parameters()


@pytest.mark.parametrize(
    "config",
    [{"model_type": "no_such_model"}, {"model_type": "t5"}, {"model_type": "llama", "num_attention_heads": 0}, {}],
)
def test_what_cannot_be_built_is_not_known(config: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    assert parameter_count(tmp_path) is None


def test_damaged_weights_are_not_known(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((tiny_model / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    assert parameter_count(tmp_path) is None


def test_headers_are_read_without_torch(tiny_model: Path) -> None:
    """A plan answers at once; importing torch and transformers alone takes seconds."""
    code = (
        "import sys; from pathlib import Path; from evolcoder.train.model_size import parameter_count\n"
        "print(parameter_count(Path(sys.argv[1])), *{'torch', 'transformers'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code, str(tiny_model)], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == [str(parameter_count(tiny_model))]
