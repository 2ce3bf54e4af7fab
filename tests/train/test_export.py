from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evolcoder.errors import TrainingError
from evolcoder.text.templates import alpaca_prompt
from evolcoder.train.export import verify_model, write_model


@pytest.fixture
def exported(tiny_model: Path, tmp_path: Path) -> Path:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    folder = tmp_path / "model"
    write_model(model, model.state_dict(), AutoTokenizer.from_pretrained(tiny_model), folder)
    return folder


def test_an_exported_model_loads_with_its_weights_tied(exported: Path, tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    verify_model(exported)
    model = AutoModelForCausalLM.from_pretrained(exported)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert all(bool((a == b).all()) for a, b in zip(model.parameters(), base.parameters(), strict=True))


def test_eos_is_the_token_that_training_appends_everywhere(exported: Path, tiny_tokenizer: Any) -> None:
    """The base model's own generation settings say another one (0)."""
    eos = tiny_tokenizer.eos_token_id
    for name in ("config.json", "generation_config.json"):
        assert json.loads((exported / name).read_text("utf-8"))["eos_token_id"] == eos
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(exported)
    assert tokenizer.eos_token_id == eos
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Say hi."}], tokenize=False, add_generation_prompt=True
    )
    assert rendered == alpaca_prompt("Say hi.")


def test_a_model_with_logits_that_are_not_finite_is_refused(exported: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(exported)
    model.model.norm.weight.data[0] = float("nan")
    model.save_pretrained(exported)
    with pytest.raises(TrainingError, match="not finite"):
        verify_model(exported)


def test_a_model_that_lacks_weights_is_refused(exported: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(exported / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, exported / "model.safetensors", {"format": "pt"})
    with pytest.raises(TrainingError, match=r"lacks weights: model\.norm\.weight"):
        verify_model(exported)


def test_a_folder_that_does_not_load_is_refused(exported: Path) -> None:
    (exported / "model.safetensors").unlink()
    with pytest.raises(TrainingError, match="does not load"):
        verify_model(exported)


def test_a_pad_that_the_model_has_not_becomes_eos(tiny_model: Path, tmp_path: Path) -> None:
    """As tokenizers have it to which ``[PAD]`` was added without a row in the embedding."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    assert tokenizer.pad_token_id == model.config.vocab_size
    write_model(model, model.state_dict(), tokenizer, tmp_path / "model")
    verify_model(tmp_path / "model")
    exported = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert exported.pad_token_id == exported.eos_token_id
    assert json.loads((tmp_path / "model" / "config.json").read_text("utf-8"))["pad_token_id"] == exported.eos_token_id


def test_a_pad_that_the_model_has_is_kept(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.pad_token = "<|endoftext|>"
    write_model(model, model.state_dict(), tokenizer, tmp_path / "model")
    assert AutoTokenizer.from_pretrained(tmp_path / "model").pad_token == "<|endoftext|>"
