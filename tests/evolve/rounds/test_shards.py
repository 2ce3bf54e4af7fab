"""Rounds on disk, the pool of the next one, and the merge of an attempt."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evolve.rows import child, seed

from evolcoder.errors import RunFolderError
from evolcoder.evolve.copies.decontamination import BenchmarkIndex
from evolcoder.evolve.copies.dedup import find_duplicates
from evolcoder.evolve.rounds.gather import Merged, check_partition, fingerprint_partition, merge_partition
from evolcoder.evolve.rounds.shards import (
    PART_NAME,
    REJECTED_NAME,
    partition_count,
    partition_of,
    read_instructions,
    read_pool,
    shard_bytes,
    write_shard,
)
from evolcoder.problems.rows import ProblemRow
from evolcoder.settings.evolve import DedupSettings
from evolcoder.storage.folders import Folder


@given(st.integers(1, 10**6), st.integers(1, 10**4))
def test_partitions_hold_about_the_rows_asked_for(rows: int, rows_per_shard: int) -> None:
    partitions = partition_count(rows, rows_per_shard)
    assert (partitions - 1) * rows_per_shard < rows <= partitions * rows_per_shard


@given(st.text(), st.integers(1, 50))
def test_a_root_has_one_partition(root_id: str, partitions: int) -> None:
    assert 0 <= partition_of(root_id, partitions) < partitions


def test_what_is_written_is_read_back_and_the_same_rows_make_the_same_bytes(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path)
    rows = [seed(f"task {number} ä\n", input="in" if number % 2 else "") for number in range(3000)]
    [entry] = write_shard(folder, "x.arrow", rows)
    assert entry.rows == 3000
    assert list(read_instructions(folder, "x.arrow")) == rows
    assert shard_bytes(rows) == shard_bytes(list(rows)) == folder.read_bytes("x.arrow")
    assert write_shard(folder, "none.arrow", []) == []
    assert list(read_instructions(folder, "none.arrow")) == []


def test_the_pool_holds_what_was_kept_last_and_parents_of_what_fell(tmp_path: Path) -> None:
    a, b, c = seed("a"), seed("b"), seed("c")
    a1, b1 = child(a, 1, "a1"), child(b, 1, "b1")
    a2 = child(a1, 2, "a2")
    rounds = [Folder.open(tmp_path / str(number)) for number in range(3)]
    write_shard(rounds[0], PART_NAME.format(0), [a, b, c])
    write_shard(rounds[1], PART_NAME.format(0), [a1, b1])
    write_shard(rounds[2], PART_NAME.format(0), [a2])
    assert read_pool(rounds[:1], 0) == sorted([a, b, c], key=lambda row: row.root_id)
    assert read_pool(rounds[:2], 0) == sorted([a1, b1, c], key=lambda row: row.root_id)
    assert read_pool(rounds, 0) == sorted([a2, b1, c], key=lambda row: row.root_id)


def attempt_of(tmp_path: Path, rows: list, files: int, order: int) -> Folder:
    attempt = Folder.open(tmp_path / f"attempt{order}")
    shuffled = random.Random(order).sample(rows, len(rows))
    for number in range(files):
        write_shard(attempt / "00000", f"{number}.arrow", shuffled[number::files])
    return attempt


def test_a_merge_makes_the_same_bytes_from_any_order_and_counts(tmp_path: Path) -> None:
    seeds = [seed(str(number)) for number in range(20)]
    earlier = [Folder.open(tmp_path / "00")]
    write_shard(earlier[0], PART_NAME.format(0), seeds)
    rows = [child(s, 1, f"new {n}", "eliminated" if n % 5 == 0 else "kept", prompt_tokens=2) for n, s in enumerate(seeds)]
    merges = []
    for order, files in ((1, 1), (2, 7)):
        out = Folder.open(tmp_path / f"out{order}")
        merges.append(merge_partition(attempt_of(tmp_path, rows, files, order), earlier, out, 0))
    assert merges[0].files == merges[1].files
    assert merges[0].summary(lambda prompt, completion: prompt / 10) == {
        "rows": 20,
        "kept": 16,
        "eliminated": 4,
        "operators": {
            "constraints": {
                "kept": 16,
                "eliminated": {"unchanged": 4},
                "mean_instruction_words": 2.0,
                "mean_response_words": 1.0,
                "prompt_tokens": 40,
                "completion_tokens": 0,
                "usd": 4.0,
            }
        },
        "prompt_tokens": 40,
        "completion_tokens": 0,
        "usd": 4.0,
    }
    both = Merged()
    for merged in merges:
        both.add(merged)
    assert both.statuses["kept"] == 32
    assert both.outcomes["constraints"] == {"kept": 32, "unchanged": 8}


def test_a_merge_with_a_failed_row_writes_nothing_and_keeps_an_example(tmp_path: Path) -> None:
    seeds = [seed("a"), seed("b")]
    earlier = [Folder.open(tmp_path / "00")]
    write_shard(earlier[0], PART_NAME.format(0), seeds)
    rows = [child(seeds[0], 1, "a1"), child(seeds[1], 1, "", "failed")]
    merged = merge_partition(attempt_of(tmp_path, rows, 1, 0), earlier, Folder.open(tmp_path / "out"), 0)
    assert merged.files == []
    assert merged.failures == {"unchanged": 1}
    assert not (tmp_path / "out").exists()


def test_a_lost_row_is_noticed(tmp_path: Path) -> None:
    seeds = [seed("a"), seed("b")]
    earlier = [Folder.open(tmp_path / "00")]
    write_shard(earlier[0], PART_NAME.format(0), seeds)
    with pytest.raises(RunFolderError, match="1 rows were lost"):
        merge_partition(attempt_of(tmp_path, [child(seeds[0], 1, "x")], 1, 0), earlier, Folder.open(tmp_path / "out"), 0)


def test_copies_fall_with_their_reason_and_their_parents_return(tmp_path: Path) -> None:
    problem = ProblemRow("b", "B/1", "Sort the readings of many sensors by day.", "Sort", ("",), "", "")
    seeds = [seed(name) for name in ("a", "b", "c")]
    earlier = Folder.open(tmp_path / "00")
    write_shard(earlier, PART_NAME.format(0), seeds)
    rows = [
        child(seeds[0], 1, problem.statement),
        child(seeds[1], 1, "Add two numbers."),
        child(seeds[2], 1, "add two numbers", id="z"),
    ]
    attempt = attempt_of(tmp_path, rows, 2, 0)
    hits, prints = check_partition(attempt, 0, BenchmarkIndex([problem]), DedupSettings())
    known = fingerprint_partition(earlier, 0, DedupSettings())
    assert [(hit.row_id, hit.task_id) for hit in hits] == [(rows[0].id, "B/1")]
    duplicates = find_duplicates(DedupSettings(), 1, known, prints)
    out = Folder.open(tmp_path / "01")
    merged = merge_partition(attempt, [earlier], out, 0, hits, duplicates)
    assert [row.instruction for row in read_instructions(out, PART_NAME.format(0))] == ["Add two numbers."]
    rejected = {row.id: row.reason for row in read_instructions(out, REJECTED_NAME.format(0))}
    assert rejected == {rows[0].id: "contaminated", "z": "duplicate"}
    assert [(one.row_id, one.duplicate_of) for one in merged.duplicates] == [("z", rows[1].id)]
    assert merged.reasons == {"contaminated": 1, "duplicate": 1}
    pool = {row.root_id: row.instruction for row in read_pool([earlier, out], 0)}
    assert pool == {seeds[0].id: "a", seeds[1].id: "Add two numbers.", seeds[2].id: "c"}


def test_failed_and_eliminated_rows_are_not_sifted(tmp_path: Path) -> None:
    rows = [child(seed("a"), 1, "x", "failed"), child(seed("b"), 1, "x", "eliminated"), child(seed("c"), 1, "y")]
    _, prints = check_partition(attempt_of(tmp_path, rows, 1, 0), 0, None, DedupSettings())
    assert len(prints) == 1
