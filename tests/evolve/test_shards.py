"""Rounds on disk, the pool of the next one, and the merge of an attempt."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.errors import RunFolderError
from evolcoder.evolve.merge import Merged, merge_partition
from evolcoder.evolve.shards import (
    arrow_bytes,
    part_name,
    partition_count,
    partition_of,
    read_instructions,
    read_pool,
    write_shard,
)
from evolcoder.runs import Folder

from .rows import child, seed


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
    assert arrow_bytes(rows) == arrow_bytes(list(rows)) == folder.read_bytes("x.arrow")
    assert write_shard(folder, "none.arrow", []) == []
    assert list(read_instructions(folder, "none.arrow")) == []


def test_the_pool_holds_what_was_kept_last_and_parents_of_what_fell(tmp_path: Path) -> None:
    a, b, c = seed("a"), seed("b"), seed("c")
    a1, b1 = child(a, 1, "a1"), child(b, 1, "b1")
    a2 = child(a1, 2, "a2")
    rounds = [Folder.open(tmp_path / str(number)) for number in range(3)]
    write_shard(rounds[0], part_name(0), [a, b, c])
    write_shard(rounds[1], part_name(0), [a1, b1])
    write_shard(rounds[2], part_name(0), [a2])
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
    write_shard(earlier[0], part_name(0), seeds)
    rows = [child(s, 1, f"new {n}", "eliminated" if n % 5 == 0 else "kept", prompt_tokens=2) for n, s in enumerate(seeds)]
    merges = []
    for order, files in ((1, 1), (2, 7)):
        out = Folder.open(tmp_path / f"out{order}")
        merges.append(merge_partition(attempt_of(tmp_path, rows, files, order), earlier, out, 0))
    assert merges[0].files == merges[1].files
    assert merges[0].summary == {
        "rows": 20,
        "kept": 16,
        "eliminated": 4,
        "operators": {"constraints": {"kept": 16, "unchanged": 4}},
        "prompt_tokens": 40,
        "completion_tokens": 0,
    }
    both = Merged()
    for merged in merges:
        both.add(merged)
    assert both.summary["kept"] == 32


def test_a_merge_with_a_failed_row_writes_nothing_and_keeps_an_example(tmp_path: Path) -> None:
    seeds = [seed("a"), seed("b")]
    earlier = [Folder.open(tmp_path / "00")]
    write_shard(earlier[0], part_name(0), seeds)
    rows = [child(seeds[0], 1, "a1"), child(seeds[1], 1, "", "failed")]
    merged = merge_partition(attempt_of(tmp_path, rows, 1, 0), earlier, Folder.open(tmp_path / "out"), 0)
    assert merged.files == []
    assert merged.failures == {"unchanged": 1}
    assert not (tmp_path / "out").exists()


def test_a_lost_row_is_noticed(tmp_path: Path) -> None:
    seeds = [seed("a"), seed("b")]
    earlier = [Folder.open(tmp_path / "00")]
    write_shard(earlier[0], part_name(0), seeds)
    with pytest.raises(RunFolderError, match="1 rows were lost"):
        merge_partition(attempt_of(tmp_path, [child(seeds[0], 1, "x")], 1, 0), earlier, Folder.open(tmp_path / "out"), 0)
