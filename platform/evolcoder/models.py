"""Which model a setting names: its folder, the name it is served under, a fingerprint, and how it wants to be asked.

A model is ``embedded``, ``tuned`` (what this run trained), a local folder in Hugging Face's layout, or a hub id. This
module finds files; it loads no weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evolcoder.embedded import EMBEDDED_MODEL_NAME, embedded_model_fingerprint, embedded_model_folder
from evolcoder.errors import ModelError
from evolcoder.runs import RunFolder
from evolcoder.settings import EMBEDDED, RunSettings
from evolcoder.storage.hashes import fingerprint
from evolcoder.storage.stage import read_manifest

TUNED = "tuned"
BASE = "base"
CARD_FILE = "evolcoder.json"
"""Written into each exported model: how it was made and how it wants to be prompted."""

_HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt"]

Style = Literal["base", "wizardcoder", "chat"]


@dataclass(frozen=True, slots=True)
class Model:
    """A model on this machine. ``fingerprint`` changes when its weights or configuration do."""

    folder: Path
    name: str
    fingerprint: str
    style: Style


def find_model(which: str, settings: RunSettings) -> Model:
    """The model that ``which`` names for this run; ``base`` is ``train.base_model``.

    Raises:
        ModelError: it is not there; the message says how to get it.
    """
    if which == BASE:
        which = settings.train.base_model
    if which == EMBEDDED:
        return Model(embedded_model_folder(), EMBEDDED_MODEL_NAME, embedded_model_fingerprint(), "chat")
    if which == TUNED:
        return _tuned_model(settings)
    folder = Path(which).expanduser()
    if folder.is_dir():
        return _folder_model(folder, folder.resolve().name)
    if which.count("/") == 1 and not which.startswith((".", "/", "~")):
        return _folder_model(_download(which), which.partition("/")[2])
    raise ModelError(f"There is no model folder {which}; give a folder with a config.json, a hub id, or `{EMBEDDED}`.")


def data_rounds(settings: RunSettings) -> int:
    """The last round whose rows the model is trained on."""
    return settings.evolve.rounds if settings.train.data_rounds is None else settings.train.data_rounds


def _tuned_model(settings: RunSettings) -> Model:
    place = RunFolder.open(settings).train(data_rounds(settings))
    manifest = read_manifest(place)
    if manifest is None:
        raise ModelError(f"{place} holds no trained model yet; run `evolcoder train` first, or name another model.")
    return Model((place / "model").local_path, f"{settings.name}-tuned", manifest.content_hash, "wizardcoder")


def _folder_model(folder: Path, name: str) -> Model:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder} has no config.json; it must be a model folder in Hugging Face's layout.") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / 'config.json'} cannot be read: {error}") from None
    sizes = {f.name: f.stat().st_size for f in sorted(folder.iterdir()) if f.suffix in {".safetensors", ".bin", ".json"}}
    return Model(folder, name, fingerprint({"config": config, "sizes": sizes}), _style(folder))


def _style(folder: Path) -> Style:
    """How the folder's model wants to be asked: as its card says, else chat when it has a template, else raw text."""
    card = folder / CARD_FILE
    if card.is_file():
        style = json.loads(card.read_text("utf-8")).get("prompt_style")
        if style in ("base", "wizardcoder", "chat"):
            return style  # type: ignore[no-any-return]
    tokenizer_config = folder / "tokenizer_config.json"
    has_template = (folder / "chat_template.jinja").is_file() or (
        tokenizer_config.is_file() and "chat_template" in json.loads(tokenizer_config.read_text("utf-8"))
    )
    return "chat" if has_template else "base"


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=_HUB_FILES))
        if not any(folder.glob("*.safetensors")):  # as older models, CodeGen and CodeT5+ among them
            folder = Path(snapshot_download(hub_id, allow_patterns=[*_HUB_FILES, "pytorch_model*.bin"]))
        return folder
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{hub_id} could not be had from the hub ({reason}); give a local folder instead.") from None
