"""Files of samples as tools write them: compressed, with byte order marks, and files that are none."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from evolcoder.errors import DataError
from evolcoder.evaluate.benchmarks.humaneval import HumanEval
from evolcoder.evaluate.samples import read_samples

LINE = json.dumps({"task_id": "HumanEval/53", "completion": "    return x + y  # \u00e9\u2028\n"}, ensure_ascii=False)
TEXT = f"{LINE}\r\n\n{LINE}\n"


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode(),
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
        lambda text: gzip.compress(text.encode()),
        lambda text: gzip.compress(text.encode("utf-8-sig")),
        lambda text: gzip.compress(text[:100].encode()) + gzip.compress(text[100:].encode()),
        lambda text: bz2.compress(text.encode()),
        lambda text: lzma.compress(text.encode()),
    ],
)
@pytest.mark.parametrize("name", ["samples.jsonl", "samples.jsonl.gz"])
def test_a_file_is_read_by_what_it_is(encode: Callable[[str], bytes], name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(encode(TEXT))
    samples, replaced = read_samples(tmp_path / name, HumanEval())
    assert [(one.task_id, one.sample, one.answer) for one in samples] == [
        ("HumanEval/53", number, json.loads(LINE)["completion"]) for number in (0, 1)
    ]
    assert replaced == 0


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (bytes(range(256)), "is a binary file; samples are JSON lines"),
        (b"PK\x03\x04" + bytes(30), "is a binary file, a zip archive"),
        (b"PAR1 and text", "a Parquet table"),
        (b"\x28\xb5\x2f\xfd\x00", "compressed by zstd"),
        ('{"task_id": "é"}'.encode("latin-1"), "is not UTF-8"),
        (gzip.compress(bytes(100)), "is a binary file"),
        (gzip.compress(TEXT.encode())[:-20], "cannot be read"),
        (gzip.compress(TEXT.encode())[:30] + bytes(30), "cannot be read"),
        (b"\x1f\x8bno", "cannot be read"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_other_files_are_one_sentence(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").write_bytes(data)
    with pytest.raises(DataError, match=said):
        read_samples(tmp_path / "samples.jsonl", HumanEval())


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no file"):
        read_samples(tmp_path / "samples.jsonl", HumanEval())
    with pytest.raises(DataError, match="cannot be read"):
        read_samples(tmp_path, HumanEval())


def test_half_a_surrogate_pair_is_replaced_and_counted(tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").write_text('{"task_id": "HumanEval/53", "answer": "a \\ud83d b \\ud83d\\ude00"}')
    (sample,), replaced = read_samples(tmp_path / "samples.jsonl", HumanEval())
    assert (sample.answer, replaced) == ("a \ufffd b \U0001f600", 1)
