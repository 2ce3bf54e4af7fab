from __future__ import annotations

import json
from pathlib import Path

import pytest

from evolcoder.errors import ModelError
from evolcoder.models import data_rounds, find_model
from evolcoder.settings import RunSettings


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


def test_training_uses_all_rounds_unless_told(settings: RunSettings) -> None:
    assert data_rounds(settings) == settings.evolve.rounds
    fewer = settings.model_copy(update={"train": settings.train.model_copy(update={"data_rounds": 1})})
    assert data_rounds(fewer) == 1
