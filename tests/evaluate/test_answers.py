from __future__ import annotations

from pathlib import Path

import fsspec
import pyarrow.fs as pafs
import pytest

from evolcoder.errors import RunFolderError
from evolcoder.evaluate.answers import AnswerLog
from evolcoder.records import Completion
from evolcoder.runs import Folder


def completion(number: int) -> Completion:
    return Completion(f"HumanEval/{number}", 0, "prompt", "answer \ud800 é\n", "stop", 1, 2)


def test_answers_survive_a_kill_and_a_torn_tail(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path)
    log = AnswerLog(folder).__enter__()
    log.add("a", completion(0))  # never closed: as after a kill
    with (tmp_path / "answers.jsonl").open("a") as file:
        file.write('{"key": "b", "task_id": "Hum')
    with AnswerLog(folder) as log:
        assert log.known == {"a": completion(0)}
        log.add("c", completion(2))
    assert AnswerLog(folder).known == {"a": completion(0), "c": completion(2)}


def test_storage_that_cannot_be_appended_to() -> None:
    memory = pafs.PyFileSystem(pafs.FSSpecHandler(fsspec.filesystem("memory")))
    folder = Folder(memory, "/answers-test")
    for start in (0, 100):
        with AnswerLog(folder) as log:
            for number in range(start, start + 100):
                log.add(str(number), completion(number))
    assert len(AnswerLog(folder).known) == 200
    assert len(folder.names("answers-*.jsonl")) == 4


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with AnswerLog(Folder.open(tmp_path)) as log:
        log._file = Path("/dev/full").open("ab", buffering=0)  # noqa: SIM115
        with pytest.raises(RunFolderError, match=r"No space left on device.*answers so far are kept"):
            log.add("a", completion(0))
