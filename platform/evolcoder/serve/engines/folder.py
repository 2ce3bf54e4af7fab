"""Checks on a model folder before its model is loaded, each with a message of one sentence. Reads no weights; no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from evolcoder.errors import ModelError
from evolcoder.models import read_config


def check_folder(folder: Path) -> dict[str, Any]:
    """Check that a model's configuration and weights are there and readable; their content is checked by the loader.

    Returns:
        The configuration.

    Raises:
        ModelError: they are not; the message names the file.
    """
    config = read_config(folder)
    for file in _weight_files(folder):
        if file.suffix != ".safetensors":
            continue
        try:
            with safe_open(file, framework="np"):  # reads the header, and compares the file's size with it
                pass
        except (SafetensorError, OSError) as error:
            with file.open("rb") as content:
                is_lfs_pointer = content.read(64).startswith(b"version https://git-lfs")
            remedy = "; it is a git-lfs pointer, so run `git lfs pull`" if is_lfs_pointer else ", so copy it again"
            raise ModelError(f"{file} is damaged ({str(error).rstrip('.')}){remedy}.") from None
    return config


def _weight_files(folder: Path) -> list[Path]:
    """The weight files that transformers would read; safetensors come before pickles, as there."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        single, index = folder / name, folder / f"{name}.index.json"
        if single.is_file():
            return [single]
        if index.is_file():
            try:
                names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
            except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                reason = f"{type(error).__name__}: {error}"
                raise ModelError(f"{index} cannot be read ({reason}); copy it again.") from None
            lacking = [name for name in names if not (folder / name).is_file()]
            if lacking:
                raise ModelError(
                    f"{folder} lacks {len(lacking)} of its {len(names)} files of weights, {lacking[0]} among them."
                )
            return [folder / name for name in names]
    raise ModelError(f"{folder} has no weights; there must be a model.safetensors or its parts with their index.")
