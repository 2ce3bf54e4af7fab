"""What tests on a GPU share: random models of real kinds, made there, and the embedded model's tokenizer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no GPU")


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """The embedded model's, from its package or from the folder that EVOLCODER_TOKENIZER names."""
    from transformers import AutoTokenizer

    from evolcoder.embedded import embedded_model_folder

    return AutoTokenizer.from_pretrained(os.environ.get("EVOLCODER_TOKENIZER") or embedded_model_folder())


@pytest.fixture(scope="session")
def random_model(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Call with a model type, and what its configuration shall be, for the folder of such a model in bf16."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    def make(kind: str, **config: Any) -> Path:
        folder = tmp_path_factory.mktemp(kind)
        torch.manual_seed(0)
        ends = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
        with torch.device("cuda"):
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **ends, **config), dtype=torch.bfloat16)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make
