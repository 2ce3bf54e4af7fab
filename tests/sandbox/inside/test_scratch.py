"""A program's own folder: counted, watched, removed, whatever is in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evolcoder.sandbox.inside import scratch


def test_usage_counts_blocks_and_entries_and_follows_no_link(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "own", tmp_path / "elsewhere"
    for place in (folder / "a", elsewhere):
        place.mkdir(parents=True)
        (place / "file").write_bytes(bytes(1 << 20))
    (folder / "link").symlink_to(elsewhere)
    with (folder / "hole").open("wb") as file:
        file.truncate(1 << 30)
    used, entries = scratch.usage_of(str(folder))
    assert entries == 4
    assert 1 << 20 <= used < 2 << 20


def test_counting_stops_at_the_first_entry_that_is_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "MOST_ENTRIES", 3)
    for number in range(10):
        (tmp_path / str(number)).touch()
    assert scratch.usage_of(str(tmp_path))[1] == 4
    assert "more than 3 temporary files" in scratch.excess(os.getpid(), str(tmp_path), 1 << 30, 1 << 10)


def test_what_is_too_much_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    me = os.getpid()
    assert scratch.excess(me, str(tmp_path), 2 << 20, 1 << 10) == ""
    assert "took more than 1000 bytes" in scratch.excess(me, str(tmp_path), 1000, 1 << 10)
    assert "more than 0 threads" in scratch.excess(me, str(tmp_path), 2 << 20, 0)
    assert "cannot be counted" in scratch.excess(me, str(tmp_path / "file"), 2 << 20, 1 << 10)


def test_remove_takes_all_however_deep_and_whatever_its_modes(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "own", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    folder.mkdir()
    (folder / "link").symlink_to(elsewhere)
    (folder / "broken").symlink_to("nowhere")
    os.mkfifo(folder / "fifo")
    (folder / "dark" / "inner").mkdir(parents=True)
    (folder / "dark" / "inner" / "file").touch()
    for dark in (folder / "dark" / "inner", folder / "dark"):
        dark.chmod(0)
    place = os.open(folder, os.O_RDONLY)
    for _ in range(3000):  # deeper than a path can say and than functions can call each other
        os.mkdir("d", dir_fd=place)
        deeper = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = deeper
    os.close(place)

    scratch.remove(str(folder))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere"]
    assert (elsewhere / "kept").exists()
    scratch.remove(str(folder))  # nothing there is no fault


def test_a_link_in_place_of_the_folder_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "_CLEAR_SECONDS", 0.0)
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    with pytest.raises(OSError, match="link"):
        scratch.remove(str(tmp_path / "link"))
    assert (tmp_path / "kept").exists()


WATCHER = """
import os, signal, sys, time
from evolcoder.sandbox.inside import confine
from evolcoder.sandbox.inside import scratch
confine.become_subreaper()
child = os.fork()
if child == 0:
    os.setsid()
    {act}
    os._exit(3)
code, usage, why = scratch.watch(child, sys.argv[1], 1 << 20, 8)
print(os.waitstatus_to_exitcode(code), why)
try:
    os.wait()
    print("a child is left")
except ChildProcessError:
    pass
"""


def watched(act: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WATCHER.format(act=act), str(folder)], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_a_program_that_ends_is_told(tmp_path: Path) -> None:
    assert watched("pass", tmp_path) == "3"


def test_a_program_that_writes_too_much_is_killed(tmp_path: Path) -> None:
    act = "open(sys.argv[1] + '/x', 'wb').write(bytes(2 << 20)); time.sleep(600)"
    assert watched(act, tmp_path) == f"{-signal.SIGKILL} its temporary files took more than {1 << 20} bytes"


def test_what_a_program_leaves_running_is_killed_and_reaped(tmp_path: Path) -> None:
    act = "(os.fork() or (os.setsid(), os.fork(), time.sleep(600))); open(sys.argv[1] + '/x', 'w').close()"
    assert watched(act, tmp_path) == "3"
