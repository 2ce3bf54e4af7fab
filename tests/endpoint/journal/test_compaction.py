"""Compacting changes neither what is known nor what was spent, wherever a kill comes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.endpoint.journal.test_journal import memory_folder

from evolcoder.endpoint.journal.lines import Entry, Release, Reservation
from evolcoder.endpoint.journal.reader import COMPACTED, JournalReader, recorded_tokens
from evolcoder.endpoint.journal.writer import compact
from evolcoder.errors import RunFolderError
from evolcoder.storage.folders import Folder
from evolcoder.storage.hashes import stable_hash

_entries = st.builds(
    lambda n, tokens: Entry(stable_hash(str(n)), f"text {n}", "stop", tokens, n), st.integers(0, 9), st.integers(0, 50)
)
_marks = st.builds(lambda n: Reservation(f"m{n}", 7, 11), st.integers(0, 5))
_withdrawals = st.builds(lambda n: Release(f"m{n}"), st.integers(0, 5))
_segments = st.lists(st.lists(_entries | _marks | _withdrawals, max_size=8), max_size=5)


def filled(folder: Folder, segments: list[list[Entry | Reservation | Release]], torn: bool = False) -> Folder:
    folder.delete()
    for number, items in enumerate(segments):
        data = b"".join(item.line() for item in items)
        (folder / "01").make().write_bytes(f"{number:06d}-w.jsonl", data[:-3] if torn else data)
    return folder


def known(folder: Folder) -> dict[str, str]:
    reader = JournalReader(folder, "01")
    replies = {stable_hash(str(n)): reader.find(stable_hash(str(n))) for n in range(10)}
    return {key: reply.text for key, reply in replies.items() if reply is not None}


@given(_segments, st.booleans())
def test_nothing_that_counts_is_lost(segments: list[list[Entry | Reservation | Release]], torn: bool) -> None:
    folder = filled(memory_folder("compact"), segments, torn)
    before = known(folder), recorded_tokens(folder)
    for _ in range(2):
        compact(folder, "01")
        assert (known(folder), recorded_tokens(folder)) == before
    assert len((folder / "01").names("*.jsonl")) <= 1


@given(_segments)
def test_a_kill_before_the_old_segments_are_deleted_counts_nothing_twice(
    segments: list[list[Entry | Reservation | Release]],
) -> None:
    folder = filled(memory_folder("killed"), segments)
    before = known(folder), recorded_tokens(folder)
    old = {name: (folder / "01").read_bytes(name) for name in (folder / "01").names("*.jsonl")}
    compact(folder, "01")
    for name, data in old.items():
        (folder / "01").write_bytes(name, data)
    assert (known(folder), recorded_tokens(folder)) == before
    (folder / "01").write_bytes("000009-new.jsonl", Entry(stable_hash("new"), "new", "stop", 1, 2).line())
    compact(folder, "01")
    assert len((folder / "01").names("*.jsonl")) == 1
    assert recorded_tokens(folder) == (before[1][0] + 1, before[1][1] + 2)


def test_a_disk_that_is_full_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = filled(Folder.open(tmp_path / "j"), [[Entry(stable_hash("1"), "text 1", "stop", 1, 1)], [Reservation("m", 2, 3)]])
    before = (folder / "01").names()

    def full(self: object, source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    filesystem = type("Full", (), {"__getattr__": lambda self, name: getattr(folder.filesystem, name), "move": full})()
    with pytest.raises(RunFolderError, match="No space left"):
        compact(Folder(filesystem, folder.path), "01")
    assert (folder / "01").names() == before
    assert not any(name.startswith(COMPACTED) for name in before)
