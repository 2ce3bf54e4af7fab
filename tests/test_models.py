from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evolcoder.errors import ModelError
from evolcoder.models import check_tokenizer, find_model, load_weights
from evolcoder.run.variants import own_variant
from evolcoder.settings.run import RunSettings


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    return RunSettings.model_validate({"name": "m", "storage": str(tmp_path / "runs")})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    place.mkdir()
    (place / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return place


def test_a_folder_is_a_model_named_after_it(folder: Path, settings: RunSettings) -> None:
    model = find_model(str(folder), settings)
    assert (model.folder, model.name, model.style) == (folder, "model", "base")


def test_a_chat_template_makes_it_a_chat_model(folder: Path, settings: RunSettings) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert find_model(str(folder), settings).style == "chat"


def test_an_exported_model_says_how_it_wants_to_be_asked(folder: Path, settings: RunSettings) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "evolcoder.json").write_text('{"prompt_style": "wizardcoder"}')
    assert find_model(str(folder), settings).style == "wizardcoder"


def test_other_weights_are_another_model(folder: Path, settings: RunSettings) -> None:
    before = find_model(str(folder), settings).fingerprint
    (folder / "model.safetensors").write_bytes(b"12345678")
    assert find_model(str(folder), settings).fingerprint != before


@pytest.mark.parametrize(
    ("which", "expected"),
    [("tuned", "evolcoder train"), ("./nowhere", "no model folder"), ("/nowhere/at/all", "no model folder")],
)
def test_a_missing_model_says_what_to_do(which: str, expected: str, settings: RunSettings) -> None:
    with pytest.raises(ModelError, match=expected):
        find_model(which, settings)


def test_a_folder_without_a_config_is_no_model(tmp_path: Path, settings: RunSettings) -> None:
    with pytest.raises(ModelError, match=r"config\.json"):
        find_model(str(tmp_path), settings)


def test_a_damaged_config_is_one_sentence(folder: Path, settings: RunSettings) -> None:
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        find_model(str(folder), settings)


@pytest.mark.parametrize(("weights", "asked"), [("model.safetensors", 1), ("pytorch_model.bin", 2)])
def test_a_hub_models_pickled_weights_are_fetched_only_where_it_has_no_others(
    folder: Path, settings: RunSettings, monkeypatch: pytest.MonkeyPatch, weights: str, asked: int
) -> None:
    asked_for: list[list[str]] = []

    def snapshot(hub_id: str, allow_patterns: list[str]) -> str:
        asked_for.append(allow_patterns)
        if any(fnmatch(weights, pattern) for pattern in allow_patterns):
            (folder / weights).write_bytes(b"12345678")
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    model = find_model("somebody/model", settings)
    assert (model.folder, model.name) == (folder, "model")
    assert (folder / weights).exists()
    assert len(asked_for) == asked


def test_training_uses_all_rounds_unless_told(settings: RunSettings) -> None:
    assert own_variant(settings).last_round == settings.evolve.rounds
    fewer = settings.model_copy(update={"train": settings.train.model_copy(update={"data_rounds": 1})})
    assert own_variant(fewer).last_round == 1


@pytest.mark.parametrize("tokens", [[], [7], [3, 7]])
def test_a_tokenizer_without_a_vocabulary_is_refused(tokens: list[int], tmp_path: Path) -> None:
    made = SimpleNamespace(encode=lambda text, add_special_tokens: tokens, unk_token_id=7)
    with pytest.raises(ModelError, match="has no vocabulary for its SimpleNamespace; copy the tokenizer files"):
        check_tokenizer(made, tmp_path)


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ({"mismatched_keys": {("b", 1, 2), ("a", 1, 2)}, "missing_keys": set()}, "weights of other sizes .*, a among them"),
        ({"mismatched_keys": set(), "missing_keys": {"y", "x"}}, "lacks 2 of the weights of a Llama, x among them"),
    ],
)
def test_a_model_without_all_of_its_weights_is_refused(report: dict[str, set[object]], words: str, tmp_path: Path) -> None:
    class Llama:
        """Stands for transformers' class and for the model that it loads."""

    def loaded(report: dict[str, set[object]]) -> Any:
        kind = SimpleNamespace(from_pretrained=lambda folder, **options: (Llama(), report))
        config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(pad_token_id=None))
        return load_weights(kind, tmp_path, config, None)

    with pytest.raises(ModelError, match=words):
        loaded(report)
    assert isinstance(loaded({"mismatched_keys": set(), "missing_keys": set()}), Llama)
