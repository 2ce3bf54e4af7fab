"""Folders: whole writes, on a disk and elsewhere, and one sentence for what cannot be."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from evolcoder.errors import RunFolderError
from evolcoder.storage.folders import Folder


def test_files_come_back_as_they_went(folder: Folder) -> None:
    for name, data in {"a.txt": b"", "deep/er/b.gz": b"not gzip", "c.zst": os.urandom(3 << 20), "ü ñ.json": b"{}"}.items():
        folder.write_bytes(name, data)
        assert folder.read_bytes(name) == data
        assert folder.size_bytes(name) == len(data)
        assert folder.sha256(name) == hashlib.sha256(data).hexdigest()
    with folder.open_output("d.gz") as stream:
        stream.write(b"plain")
    assert folder.read_bytes("d.gz") == b"plain"
    assert folder.names() == ["a.txt", "c.zst", "d.gz", "ü ñ.json"]
    assert folder.names("*.gz", recursive=True) == ["d.gz", "deep/er/b.gz"]


def test_what_is_not_there(folder: Folder) -> None:
    assert folder.names() == []
    assert not folder.exists()
    assert folder.size_bytes("a") is None
    folder.delete("a")
    folder.delete()


def test_a_file_is_replaced_and_deleted(folder: Folder) -> None:
    folder.write_text("a", "old")
    folder.write_text("a", "new")
    assert folder.read_text("a") == "new"
    folder.delete("a")
    assert folder.names() == []
    folder.write_text("b/c", "x")
    folder.delete()
    assert not folder.exists("b/c")


def test_a_folder_can_go_to_another_process(folder: Folder) -> None:
    folder.write_text("a", "x")
    assert pickle.loads(pickle.dumps(folder)).read_text("a") == "x"


def test_a_folder_is_named_as_a_person_would(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(folder / "a") == ("run/a" if folder.is_local else "memory:///bucket/run/a")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys\n"
        "from evolcoder.storage.folders import Folder\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "Folder.open(sys.argv[1]).write_bytes('a', b'x' * 100_000)\n"
    )
    Folder.open(tmp_path).write_text("a", "old")
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert "RunFolderError" in ended.stderr
    assert "nothing that was finished is lost" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_a_place_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot be written"):
        Folder.open(tmp_path / "file" / "run").make()
    with pytest.raises(RunFolderError, match="cannot be written"):
        Folder.open(tmp_path / "file" / "run").write_text("a", "x")
    with pytest.raises(RunFolderError, match="nosuch://x cannot be used as storage"):
        Folder.open("nosuch://x")
    with pytest.raises(RunFolderError, match="must be a local folder"):
        _ = Folder.open("memory://x").local_path
