"""Folders that hold no servable model: each is refused with the sentence that says why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from evolcoder.errors import ModelError
from evolcoder.serve.engines.folder import check_folder
from evolcoder.serve.engines.loading import load_model

TinyModel = Callable[[str], Path]


@pytest.fixture
def folder(tiny_model: TinyModel, tmp_path: Path) -> Path:
    """A whole model, to be spoilt."""
    return Path(shutil.copytree(tiny_model("gpt_bigcode"), tmp_path / "model"))


def configure(folder: Path, **fields: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **fields}))


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(folder, None, torch.float32)
    message = caught.value.message
    assert str(folder) in message
    assert "\n" not in message
    assert len(message) < 600
    return message


def test_a_whole_folder_is_fine(folder: Path) -> None:
    check_folder(folder)


def test_a_pad_token_that_the_model_has_not_is_no_hindrance(tiny_model: TinyModel, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model("llama"), tmp_path / "model"))
    configure(folder, pad_token_id=10_000)
    assert load_model(folder, None, torch.float32).model.config.pad_token_id is None


def test_no_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert "has no config.json" in refused(folder)


def test_an_adapter(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")
    assert "an adapter without its base model; merge the two" in refused(folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "cannot be read"), ("\xff", "cannot be read"), ("[]", "names no model_type"), ("{}", "names no model_type")],
)
def test_a_config_that_is_none(folder: Path, content: str, words: str) -> None:
    (folder / "config.json").write_text(content, "latin-1")
    assert words in refused(folder)


def test_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert "has no weights" in refused(folder)


def test_a_missing_part_of_the_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert "lacks 1 of its 2 files of weights, model-00002-of-00002.safetensors among them" in refused(folder)


@pytest.mark.parametrize("index", ["{", "[]", '{"weight_map": 3}'])
def test_an_index_of_weights_that_is_none(folder: Path, index: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(index)
    assert "model.safetensors.index.json cannot be read" in refused(folder)


@pytest.mark.parametrize("kept", [0, 5, 200, 10_000])
def test_weights_that_are_cut_short(folder: Path, kept: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    assert "model.safetensors is damaged" in refused(folder)


def test_a_git_lfs_pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    assert "git lfs pull" in refused(folder)


def test_weights_that_are_not_of_this_model(folder: Path) -> None:
    configure(folder, n_embd=64)
    assert "has weights of other sizes than its config.json says" in refused(folder)


def test_a_config_with_a_value_of_another_kind(folder: Path) -> None:
    configure(folder, n_layer="two")
    assert "Validation error for field 'n_layer'" in refused(folder)


def test_weights_in_a_pickle_are_read(folder: Path) -> None:
    """As those of older models."""
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert load_model(folder, None, torch.float32).max_model_len == 128


def test_weights_in_a_damaged_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"garbage")
    assert "cannot be loaded as a model (UnpicklingError" in refused(folder)


def test_weights_that_lack_some(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["transformer.h.1.ln_2.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert "lacks 1 of the weights of a GPTBigCodeForCausalLM, transformer.h.1.ln_2.weight among them" in refused(folder)


def test_no_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    assert "has no tokenizer that can be read" in refused(folder)


def test_a_damaged_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    assert "has no tokenizer that can be read (JSONDecodeError" in refused(folder)


@pytest.mark.parametrize(
    ("kind", "tokenizer"), [("codegen", "CodeGenTokenizer"), ("t5", "T5Tokenizer"), ("llama", "LlamaTokenizer")]
)
def test_a_tokenizer_without_its_words(tiny_model: TinyModel, tmp_path: Path, kind: str, tokenizer: str) -> None:
    folder = Path(shutil.copytree(tiny_model(kind), tmp_path / kind))
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": tokenizer}))
    assert f"has no vocabulary for its {tokenizer}; copy the tokenizer files" in refused(folder)


def test_an_encoder(tiny_model: TinyModel) -> None:
    assert "holds a BertForMaskedLM, which does not generate text" in refused(tiny_model("bert"))


def test_half_of_an_encoder_decoder(tiny_model: TinyModel, tmp_path: Path) -> None:
    half = Path(shutil.copytree(tiny_model("t5"), tmp_path / "t5"))
    configure(half, architectures=["T5EncoderModel"])
    assert "holds a T5EncoderModel, which does not generate text" in refused(half)


def test_a_model_of_an_unknown_kind(folder: Path) -> None:
    configure(folder, model_type="wizard")
    assert "has model type `wizard` but Transformers does not recognize this architecture)" in refused(folder)


def test_a_model_with_code_of_its_own(folder: Path) -> None:
    """As the larger CodeT5+ models."""
    configure(folder, model_type="codet5p", auto_map={"AutoConfig": "configuration_codet5p.CodeT5pConfig"})
    (folder / "configuration_codet5p.py").write_text("raise SystemExit('the code of a model folder was run')\n")
    assert "code out of a model folder is not run" in refused(folder)


def test_code_that_comes_with_a_known_kind_is_not_needed(folder: Path) -> None:
    configure(folder, auto_map={"AutoConfig": "configuration_x.X", "AutoModelForCausalLM": "modeling_x.X"})
    (folder / "modeling_x.py").write_text("raise SystemExit('the code of a model folder was run')\n")
    load_model(folder, None, torch.float32)


def test_an_encoder_decoder_that_does_not_say_how_answers_begin(tiny_model: TinyModel, tmp_path: Path) -> None:
    silent = Path(shutil.copytree(tiny_model("t5"), tmp_path / "t5"))
    configure(silent, decoder_start_token_id=None)
    (silent / "generation_config.json").unlink()
    assert "set decoder_start_token_id in its config.json" in refused(silent)


def test_the_configuration_says_it_where_the_generation_settings_do_not(tiny_model: TinyModel, tmp_path: Path) -> None:
    """As in folders of older models."""
    old = Path(shutil.copytree(tiny_model("t5"), tmp_path / "t5"))
    configure(old, decoder_start_token_id=7, eos_token_id=9)
    (old / "generation_config.json").unlink()
    loaded = load_model(old, None, torch.float32)
    assert (loaded.decoder_start, 9 in loaded.eos_ids) == ((7,), True)
