"""A log that grows on a disk, and one that is made of segments elsewhere."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pyarrow.fs as pafs
import pytest

from evolcoder.errors import RunFolderError
from evolcoder.storage.append_log import AppendLog
from evolcoder.storage.folders import Folder


def remote_folder(name: str) -> Folder:
    return Folder(pafs.PyFileSystem(pafs.FSSpecHandler(fsspec.filesystem("memory"))), f"/{name}")


def test_a_line_is_on_disk_when_it_was_appended(tmp_path: Path) -> None:
    log = AppendLog(Folder.open(tmp_path), "log", first_segment=0)
    for line in (b"one\n", b"two\n"):
        log.append(line)
        assert (tmp_path / "log.jsonl").read_bytes().endswith(line)
    assert log.waiting == []
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_a_line_that_a_kill_cut_short_swallows_no_other(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(b"one\ntw")
    log = AppendLog(Folder.open(tmp_path), "log", first_segment=0)
    log.append(b"three\n")
    log.close()
    assert (tmp_path / "log.jsonl").read_bytes() == b"one\ntw\nthree\n"


def test_elsewhere_each_cut_is_a_segment(tmp_path: Path) -> None:
    folder = remote_folder(tmp_path.name).make()
    log = AppendLog(folder, "log", first_segment=3)
    log.append(b"one\n")
    log.append(b"two\n")
    assert log.waiting == [b"one\n", b"two\n"]
    assert folder.names() == []
    write = log.cut()
    log.append(b"three\n")  # belongs to the next one, though the first is not written yet
    write()
    log.close()
    assert folder.names() == ["log-000003.jsonl", "log-000004.jsonl"]
    assert [folder.read_bytes(name) for name in folder.names()] == [b"one\ntwo\n", b"three\n"]
    log.cut()()
    assert len(folder.names()) == 2


def test_a_full_disk_is_one_sentence() -> None:
    log = AppendLog(Folder.open("/tmp"), "log", first_segment=0)
    log._file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115
    with pytest.raises(RunFolderError, match=r"cannot be written \(No space left"):
        log.append(b"one\n")
