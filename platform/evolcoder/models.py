"""Which model a setting names: its folder, the name it is served under, a fingerprint, and the prompts it expects.

A model is ``embedded``, ``tuned`` or another that this run trained, a local folder in Hugging Face's layout,
or a hub id. What a folder lacks is found out here, for those who train a model and for those who serve it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evolcoder.embedded import EMBEDDED_MODEL_NAME, embedded_model_fingerprint, embedded_model_folder
from evolcoder.errors import ModelError
from evolcoder.run.evol_stop import check_decided, models_of
from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import BASE, TUNED
from evolcoder.settings.run import RunSettings
from evolcoder.settings.section import EMBEDDED
from evolcoder.storage.hashes import fingerprint
from evolcoder.storage.stage import read_manifest

CARD_FILE = "evolcoder.json"
"""In each exported model: how it was made, and which prompts it expects."""

COPY_TOKENIZER = "copy the tokenizer files of the model that it was made from into it"

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
        SettingsError: it is the run's own, and Evol Stop has not decided yet which one that is.
    """
    if which == BASE:
        which = settings.train.base_model
    if which == EMBEDDED:
        return Model(embedded_model_folder(), EMBEDDED_MODEL_NAME, embedded_model_fingerprint(), "chat")
    run = RunFolder.open(settings)
    if which == TUNED:
        check_decided(settings, run)
    for variant in models_of(settings, run):
        if which == variant.name:
            place = run.train(variant.folder)
            manifest = read_manifest(place)
            if manifest is None:
                raise ModelError(f"{place} holds no trained model yet; run `evolcoder train` first, or name another model.")
            return Model((place / "model").local_path, f"{settings.name}-{which}", manifest.content_hash, "wizardcoder")
    folder = Path(which).expanduser()
    name = folder.resolve().name
    if not folder.is_dir():
        if which.count("/") != 1 or which.startswith((".", "/", "~")):
            raise ModelError(f"There is no model folder {which}; give a folder with a config.json, a hub id, or `{EMBEDDED}`.")
        folder, name = _download(which), which.partition("/")[2]
    config = read_config(folder)
    sizes = {f.name: f.stat().st_size for f in sorted(folder.iterdir()) if f.suffix in {".safetensors", ".bin", ".json"}}
    return Model(folder, name, fingerprint({"config": config, "sizes": sizes}), _style(folder))


def read_config(folder: Path) -> dict[str, Any]:
    """A model folder's configuration.

    Raises:
        ModelError: there is none, or it is not that of a model.
    """
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        if (folder / "adapter_config.json").is_file():
            raise ModelError(f"{folder} holds an adapter without its base model; merge the two and give that folder.") from None
        raise ModelError(f"{folder} has no config.json; it must be a model folder in Hugging Face's layout.") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read: {error}") from None
    if not isinstance(config, dict) or not config.get("model_type"):
        raise ModelError(f"{file} names no model_type; it must be the configuration of a model.")
    return config


def check_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Try the tokenizer on a word: where files are missing, transformers may make one with an empty vocabulary.

    Raises:
        ModelError: it does not know the word.
    """
    tokens = tokenizer.encode("def", add_special_tokens=False)
    if not tokens or tokenizer.unk_token_id in tokens:
        raise ModelError(f"{folder} has no vocabulary for its {type(tokenizer).__name__}; {COPY_TOKENIZER}.")


def load_weights(kind: Any, folder: Path, config: Any, dtype: Any) -> Any:
    """A model with all of its weights; transformers would fill in random ones for what the folder lacks.

    Args:
        kind: the class of transformers' that loads it.
        config: the folder's, as transformers reads it. A pad token for which the embedding has no row is taken out, for some
            models fail to load with one.

    Raises:
        ModelError: weights are missing, or have other sizes.
    """
    text = config.get_text_config()
    if getattr(text, "pad_token_id", None) is not None and text.pad_token_id >= text.vocab_size:
        text.pad_token_id = None
    model, report = kind.from_pretrained(
        folder,
        config=config,
        dtype=dtype,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # reported by name, instead of by an exception of many lines
    )
    other_sizes = sorted(name for name, *_ in report["mismatched_keys"])
    if other_sizes:
        raise ModelError(f"{folder} has weights of other sizes than its config.json says, {other_sizes[0]} among them.")
    lacking = sorted(report["missing_keys"])
    if lacking:
        which = type(model).__name__
        raise ModelError(f"{folder} lacks {len(lacking)} of the weights of a {which}, {lacking[0]} among them.")
    return model


def _style(folder: Path) -> Style:
    """How the folder's model expects prompts: as its card says, else chat when it has a template, else raw text."""
    card, tokenizer = folder / CARD_FILE, folder / "tokenizer_config.json"
    style = json.loads(card.read_text("utf-8")).get("prompt_style") if card.is_file() else None
    if style in ("base", "wizardcoder", "chat"):
        return style  # type: ignore[no-any-return]
    has_template = (folder / "chat_template.jinja").is_file() or (
        tokenizer.is_file() and "chat_template" in json.loads(tokenizer.read_text("utf-8"))
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
