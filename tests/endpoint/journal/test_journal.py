"""Replies on disk: found again, torn tails ignored, older runs fenced off."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import fsspec
import pyarrow.fs as pafs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.endpoint.journal.epoch import Epoch, EpochCheck
from evolcoder.endpoint.journal.lines import Entry, Release, Reservation, parse_line, request_key
from evolcoder.endpoint.journal.reader import JournalReader, recorded_tokens
from evolcoder.endpoint.journal.writer import JournalWriter
from evolcoder.endpoint.requests import SamplingSettings, request_body
from evolcoder.errors import RunBusyError, RunFolderError
from evolcoder.storage.folders import Folder
from evolcoder.storage.hashes import stable_hash


def entry(text: str, tokens: int = 1) -> Entry:
    return Entry(stable_hash(text), text, "stop", tokens, tokens)


def write(folder: Folder, *entries: Entry, part: str = "01") -> None:
    async def append() -> None:
        writer = JournalWriter(folder, part, 1)
        await asyncio.gather(*(writer.append(e) for e in entries))
        await writer.close()

    asyncio.run(append())


def memory_folder(name: str) -> Folder:
    return Folder(pafs.PyFileSystem(pafs.FSSpecHandler(fsspec.filesystem("memory"))), f"/{name}")


@pytest.fixture(params=["local", "remote"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder.open(tmp_path / "journal") if request.param == "local" else memory_folder(tmp_path.name)


def test_what_was_written_is_found_in_its_part(folder: Folder) -> None:
    write(folder, entry("a"), entry("ä\n\u2028 b"), entry("\ud800"))
    reader = JournalReader(folder, "01")
    for text, found in (("a", "a"), ("ä\n\u2028 b", "ä\n\u2028 b"), ("\ud800", "\ufffd")):
        reply = reader.find(stable_hash(text))
        assert reply is not None
        assert (reply.text, reply.replaced_characters) == (found, found != text)
    assert reader.find(stable_hash("c")) is None
    assert JournalReader(folder, "02").find(stable_hash("a")) is None


@given(st.integers(min_value=1, max_value=400))
def test_a_segment_cut_anywhere_loses_only_what_was_cut(cut: int) -> None:
    folder = memory_folder("cut")
    folder.delete()
    entries = [entry(f"reply {number}") for number in range(5)]
    data = b"".join(e.line() for e in entries)
    kept = data[: max(0, len(data) - cut)]
    (folder / "01").make().write_bytes("000001-a.jsonl", kept)
    reader = JournalReader(folder, "01")
    whole = kept.count(b"\n")
    assert [reader.find(e.key) is not None for e in entries] == [number < whole for number in range(5)]
    assert reader.damaged_lines == (not kept.endswith(b"\n") and kept != b"")


def test_a_line_that_is_no_entry_in_the_middle_hides_nothing_else(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path)
    (folder / "01").make().write_bytes("s.jsonl", entry("a").line() + b"\x00\xff garbage\n" + entry("b").line())
    reader = JournalReader(folder, "01")
    assert reader.find(stable_hash("a")) is not None
    assert reader.find(stable_hash("b")) is not None
    assert reader.damaged_lines == 1


@given(st.binary(max_size=60))
def test_any_bytes_are_an_entry_or_nothing(line: bytes) -> None:
    item = parse_line(line + b"\n")
    assert item is None or isinstance(item, Entry | Reservation | Release)
    assert parse_line(line.rstrip(b"\n")) is None


def test_tokens_of_all_parts_are_added_up_with_marks_that_were_left(folder: Folder) -> None:
    write(folder, entry("a", 3), entry("b", 4))

    async def mark() -> None:
        writer = JournalWriter(folder, "02", 1)
        writer.note(Reservation("left", 10, 20))
        writer.note(Reservation("withdrawn", 100, 200))
        writer.note(Release("withdrawn"))
        await writer.close()

    asyncio.run(mark())
    assert recorded_tokens(folder) == (17, 27)
    reader = JournalReader(folder, "02")
    assert reader.damaged_lines == 0
    assert stable_hash("a") not in reader


def test_a_newer_run_fences_off_the_older(folder: Folder) -> None:
    older = Epoch.claim(folder)
    fence = EpochCheck(older)
    fence.check()
    fence.check()
    newer = Epoch.claim(folder)
    assert newer.number == older.number + 1
    fresh = EpochCheck(older)
    with pytest.raises(RunBusyError, match="newer run"):
        fresh.check()
    if folder.is_local:
        with pytest.raises(RunBusyError):
            fence.check()
    EpochCheck(newer).check()


def test_an_unwritable_journal_is_one_sentence(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path / "journal")

    async def append() -> None:
        writer = JournalWriter(folder, "01", 1)
        folder.delete()
        await writer.append(entry("a"))

    with pytest.raises(RunFolderError, match="cannot be written"):
        asyncio.run(append())


def test_a_full_disk_is_one_sentence() -> None:
    async def append() -> None:
        writer = JournalWriter(Folder.open("/tmp"), ".", 1)
        writer._log._file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115
        await writer.append(entry("a"))

    with pytest.raises(RunFolderError, match="No space left"):
        asyncio.run(append())


def test_kill_9_loses_no_reply_that_was_acknowledged(tmp_path: Path) -> None:
    script = textwrap.dedent(
        f"""
        import asyncio, sys
        from evolcoder.endpoint.journal.lines import Entry
        from evolcoder.endpoint.journal.writer import JournalWriter
        from evolcoder.storage.hashes import stable_hash
        from evolcoder.storage.folders import Folder
        async def main():
            writer = JournalWriter(Folder.open({str(tmp_path)!r}), "01", 1)
            for number in range(10**9):
                await writer.append(Entry(stable_hash(str(number)), "x" * 500, "stop", 1, 1))
                print(number, flush=True)
        asyncio.run(main())
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(200):
        last = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split("\n")
    process.stdout.close()
    process.wait()
    last = max([last, *(int(line) for line in rest[:-1])])
    reader = JournalReader(Folder.open(tmp_path), "01")
    assert all(reader.find(stable_hash(str(number))) is not None for number in range(last + 1))


def test_the_key_depends_on_everything_in_the_request() -> None:
    sampling = SamplingSettings(1.0, 0.9, 100, seed=1)
    bodies = [
        request_body("m", {"messages": [{"role": "user", "content": "q"}]}, sampling),
        request_body("n", {"messages": [{"role": "user", "content": "q"}]}, sampling),
        request_body("m", {"messages": [{"role": "user", "content": "r"}]}, sampling),
        request_body("m", {"messages": [{"role": "user", "content": "q"}]}, SamplingSettings(1.0, 0.9, 100, seed=2)),
        request_body("m", {"messages": [{"role": "user", "content": "q"}]}, SamplingSettings(1.0, 0.9, 101, seed=1)),
        request_body("m", {"prompt": "q"}, sampling),
    ]
    keys = {request_key("chat", body) for body in bodies}
    assert len(keys) == len(bodies)
    assert request_key("chat", json.loads(json.dumps(bodies[0]))) in keys
