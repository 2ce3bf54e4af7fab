"""The run folder: whole writes, honest manifests, one process a stage, on a disk and elsewhere."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evolcoder.errors import RunBusyError, RunFolderError
from evolcoder.runs import RunFolder
from evolcoder.settings import RunSettings
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import MANIFEST, Manifest, describe_file, publish_manifest, read_manifest, stage_state


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    if request.param == "disk":
        yield Folder.open(tmp_path / "run")
        return
    yield Folder.open("memory://bucket/run")
    memory = fsspec.filesystem("memory")
    if memory.exists("/bucket"):
        memory.rm("/bucket", recursive=True)


def publish(folder: Folder, files: dict[str, bytes], **changes: Any) -> Manifest:
    for name, data in files.items():
        folder.write_bytes(name, data)
    arguments: dict[str, Any] = {"identity": {"seed": 0, "rows": [1, 2]}, "inputs": {"seeds": "abc"}} | changes
    return publish_manifest(folder, "stage", files=[describe_file(folder, name, rows=1) for name in files], **arguments)


def state(folder: Folder, **changes: Any) -> str:
    arguments: dict[str, Any] = {"identity": {"seed": 0, "rows": (1, 2)}, "inputs": {"seeds": "abc"}} | changes
    found = stage_state(folder, **arguments)
    return f"{found.kind} {found.reason}".strip()


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
    assert read_manifest(folder) is None
    assert state(folder) == "missing"
    with pytest.raises(RunFolderError, match="should have been written"):
        describe_file(folder, "a")


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
        "from evolcoder.runs import Folder\n"
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


def test_a_published_stage_is_done(folder: Folder) -> None:
    made = publish(folder, {"part-0.arrow": b"rows", "part-1.arrow": b"more"}, summary={"kept": 2})
    assert read_manifest(folder) == made
    assert made.rows == 2
    assert state(folder) == "done"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"identity": {"seed": 1, "rows": [1, 2]}}, "stale seed changed since it was made"),
        ({"identity": {"seed": 0}}, "stale rows changed since it was made"),
        ({"identity": {"seed": 0, "rows": [1, 2], "new": None, "x": 1}}, "stale x changed since it was made"),
        ({"inputs": {"seeds": "abd"}}, "stale seeds changed since it was made"),
        ({"inputs": {}}, "stale seeds changed since it was made"),
    ],
)
def test_a_stage_made_otherwise_is_stale(folder: Folder, changes: dict[str, Any], expected: str) -> None:
    publish(folder, {"a": b"x"})
    assert state(folder, **changes) == expected


@pytest.mark.parametrize("damage", [b"", b"y", b"xx", None])
def test_a_changed_file_is_damage(folder: Folder, damage: bytes | None) -> None:
    publish(folder, {"a": b"x", "b": b"x"})
    folder.delete("b")
    if damage is not None:
        folder.write_bytes("b", damage)
    assert state(folder) == "damaged b is missing or changed on disk"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"stage": "x"}', "\0\0\0\0"])
def test_a_broken_manifest_says_what_to_do(folder: Folder, text: str) -> None:
    publish(folder, {"a": b"x"})
    folder.write_text(MANIFEST, text)
    with pytest.raises(RunFolderError, match="delete it, and the stage is made again") as caught:
        state(folder)
    assert MANIFEST in caught.value.message


names = st.text(st.characters(codec="ascii", categories=["Ll", "Nd"]), min_size=1, max_size=8)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(names, st.binary(max_size=20), min_size=1, max_size=4), st.data())
def test_the_content_hash_is_of_names_and_bytes_alone(tmp_path: Path, files: dict[str, bytes], data: st.DataObject) -> None:
    here = Folder.open(tmp_path / data.draw(names))
    one = publish(here, files, summary={"cost": 1}, identity={"a": 1})
    other = publish(here, dict(reversed(files.items())), summary={"cost": 2}, identity={"a": 2})
    assert one.content_hash == other.content_hash
    name = data.draw(st.sampled_from(sorted(files)))
    changed = publish(here, files | {name: files[name] + b"!"})
    assert changed.content_hash != one.content_hash


def run_folder(tmp_path: Path) -> RunFolder:
    return RunFolder.open(RunSettings(name="r", storage=str(tmp_path)))


def test_the_settings_as_resolved_can_be_run_again(tmp_path: Path) -> None:
    from evolcoder.settings_files import load_preset, load_settings

    wanted = load_preset("wizardcoder-15b", "r", [f"storage={tmp_path}"])
    RunFolder.open(wanted).write_settings(wanted)
    assert load_settings(tmp_path / "r" / "run.yaml") == wanted


def test_one_stage_is_run_by_one_process_and_others_by_others(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    with run.lock("evolve"):
        with run.lock("train"):
            pass
        with pytest.raises(RunBusyError, match=rf"Process {os.getpid()} is already running evolve"), run.lock("evolve"):
            pytest.fail("two held it")
    with run.lock("evolve"):
        pass


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from evolcoder.runs import RunFolder\n"
        "from evolcoder.settings import RunSettings\n"
        "with RunFolder.open(RunSettings(name='r', storage=sys.argv[1])).lock('evolve'):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=60)
    assert ended.returncode == -9
    with run_folder(tmp_path).lock("evolve"):
        pass


def test_a_fault_inside_a_lock_is_not_blamed_on_the_disk(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="the teacher"), run_folder(tmp_path).lock("evolve"):
        raise ConnectionError("the teacher is gone")
