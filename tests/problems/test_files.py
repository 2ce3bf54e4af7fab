"""The benchmarks' files: verified to the byte, or one sentence that says how to get them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from evolcoder.benchmark_table import benchmark_files
from evolcoder.errors import DataError
from evolcoder.problems.files import benchmark_rows, read_benchmark

TASKS = {"humaneval": 164, "humaneval+": 164, "mbpp": 974, "mbpp+": 399, "ds1000": 1000}


@pytest.mark.parametrize("name", TASKS)
def test_every_known_file_is_the_one_in_the_data_folder(name: str, data_folder: Path) -> None:
    assert len(list(benchmark_rows(name))) == TASKS[name]


def test_a_package_ships_humaneval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVOLCODER_DATA", raising=False)
    assert next(benchmark_rows("humaneval"))["task_id"] == "HumanEval/0"


def test_what_is_not_there_is_one_sentence_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVOLCODER_DATA", raising=False)
    monkeypatch.setenv("EVOLCODER_CACHE", str(tmp_path))
    put = r"put mbpp/mbpp.jsonl.gz .*\$EVOLCODER_DATA names\.$"
    with pytest.raises(DataError, match=rf"The data of mbpp is missing; `evolcoder data fetch mbpp`, or {put}"):
        read_benchmark("mbpp")


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / benchmark_files()["humaneval"].path
    file.parent.mkdir()
    file.write_bytes(gzip.compress(b'{"task_id": "HumanEval/0"}\n'))
    monkeypatch.setenv("EVOLCODER_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"is not the humaneval that is known here .*openai/human-eval"):
        read_benchmark("humaneval")
