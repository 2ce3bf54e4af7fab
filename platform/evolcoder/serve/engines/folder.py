"""What a folder must hold before its model is loaded; each lack in one sentence. Reads no weights and needs no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from evolcoder.errors import ModelError


def check_folder(folder: Path) -> dict[str, Any]:
    """See whether a model's configuration and weights are there and whole. What is in them is for the loader to judge.

    Returns:
        The configuration.

    Raises:
        ModelError: they are not; the message names the file.
    """
    config = _config(folder)
    for file in _weight_files(folder):
        _check_weights(file)
    return config


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except FileNotFoundError:
        if (folder / "adapter_config.json").is_file():
            raise ModelError(f"{folder} holds an adapter without its base model; merge the two and give that folder.") from None
        raise ModelError(f"{folder} has no config.json; it must be a model folder in Hugging Face's layout.") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / 'config.json'} cannot be read: {error}") from None
    if not isinstance(config, dict) or not config.get("model_type"):
        raise ModelError(f"{folder / 'config.json'} names no model_type; it must be the configuration of a model.")
    return config


def _weight_files(folder: Path) -> list[Path]:
    """The files of weights that would be read.

    Raises:
        ModelError: there is none, or one that the index names is missing.
    """
    for single, index in (
        ("model.safetensors", "model.safetensors.index.json"),
        ("pytorch_model.bin", "pytorch_model.bin.index.json"),
    ):
        if (folder / single).is_file():
            return [folder / single]
        if (folder / index).is_file():
            names = _indexed(folder / index)
            lacking = [name for name in names if not (folder / name).is_file()]
            if lacking:
                raise ModelError(
                    f"{folder} lacks {len(lacking)} of its {len(names)} files of weights, {lacking[0]} among them."
                )
            return [folder / name for name in names]
    raise ModelError(f"{folder} has no weights; there must be a model.safetensors or its parts with their index.")


def _indexed(index: Path) -> list[str]:
    try:
        return sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{index} cannot be read ({type(error).__name__}: {error}); copy it again.") from None


def _check_weights(file: Path) -> None:
    if file.suffix != ".safetensors":
        return
    try:
        with safe_open(file, framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        pointer = "; it is a git-lfs pointer, so run `git lfs pull`" if _is_lfs_pointer(file) else ", so copy it again"
        raise ModelError(f"{file} is damaged ({str(error).rstrip('.')}){pointer}.") from None


def _is_lfs_pointer(file: Path) -> bool:
    with file.open("rb") as content:
        return content.read(64).startswith(b"version https://git-lfs")
