from __future__ import annotations

from pathlib import Path

import fsspec
import pyarrow.fs as pafs
import pytest

from evolcoder.errors import RunFolderError
from evolcoder.evaluate.row_log import RowLog
from evolcoder.records import Completion
from evolcoder.storage.folders import Folder


def completion(number: int) -> Completion:
    return Completion(f"HumanEval/{number}", 0, "prompt", "answer \ud800 é\n", "stop", 1, 2)


def test_answers_survive_a_kill_and_a_torn_tail(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path)
    log = RowLog(folder, "answers", Completion).__enter__()
    log.add("a", completion(0))  # never closed: as after a kill
    with (tmp_path / "answers.jsonl").open("a") as file:
        file.write('{"key": "b", "task_id": "Hum')
    with RowLog(folder, "answers", Completion) as log:
        assert log.known == {"a": completion(0)}
        log.add("c", completion(2))
    assert RowLog(folder, "answers", Completion).known == {"a": completion(0), "c": completion(2)}


def test_storage_that_cannot_be_appended_to() -> None:
    memory = pafs.PyFileSystem(pafs.FSSpecHandler(fsspec.filesystem("memory")))
    folder = Folder(memory, "/answers-test")
    for start in (0, 100):
        with RowLog(folder, "answers", Completion) as log:
            for number in range(start, start + 100):
                log.add(str(number), completion(number))
    assert len(RowLog(folder, "answers", Completion).known) == 200
    assert len(folder.names("answers-*.jsonl")) == 4


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with RowLog(Folder.open(tmp_path), "answers", Completion) as log:
        log._log._file = Path("/dev/full").open("ab", buffering=0)  # noqa: SIM115
        with pytest.raises(RunFolderError, match=r"No space left on device.*nothing that was finished is lost"):
            log.add("a", completion(0))
