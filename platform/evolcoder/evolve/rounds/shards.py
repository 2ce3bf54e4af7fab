"""Rounds on disk: rows of ``records.Instruction`` in Arrow IPC files, split by root so that a lineage stays together.

Partition p of every round holds the same roots, in ``part-p.arrow`` (kept) and ``rejected-p.arrow`` (eliminated), each sorted
by root id. The same rows make the same bytes. Knows no Ray.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from evolcoder.records import INSTRUCTION_SCHEMA, Instruction
from evolcoder.storage.arrow_files import arrow_bytes, read_rows
from evolcoder.storage.folders import Folder
from evolcoder.storage.hashes import stable_hash
from evolcoder.storage.stage import FileEntry, describe_file

PART_NAME = "part-{:05d}.arrow"
KEPT_PATTERN = "part-*.arrow"
REJECTED_NAME = "rejected-{:05d}.arrow"
_ROWS_PER_BATCH = 1024


def partition_count(seeds: int, rows_per_shard: int) -> int:
    """Partitions of each round of a run that has this many seeds."""
    return max(1, -(-seeds // rows_per_shard))


def partition_of(root_id: str, partitions: int) -> int:
    return int(stable_hash(root_id)[:15], 16) % partitions


def shard_bytes(rows: Iterable[Instruction]) -> bytes:
    """A shard of the rows, in their order."""
    return arrow_bytes((row.to_row() for row in rows), INSTRUCTION_SCHEMA, _ROWS_PER_BATCH)


def write_shard(folder: Folder, name: str, rows: Sequence[Instruction]) -> list[FileEntry]:
    """Write a shard whole; no rows make no file."""
    if not rows:
        return []
    folder.write_bytes(name, shard_bytes(rows))
    return [describe_file(folder, name, rows=len(rows))]


def write_rows(attempt: Folder, partitions: int, name: str, rows: Sequence[Instruction]) -> None:
    """Write evolved rows to an attempt's folder, each partition's into a file of that name."""
    by_partition: dict[int, list[Instruction]] = defaultdict(list)
    for row in rows:
        by_partition[partition_of(row.root_id, partitions)].append(row)
    for partition, members in by_partition.items():
        attempt.write_bytes(f"{partition:05d}/{name}.arrow", shard_bytes(members))


def read_instructions(folder: Folder, name: str) -> Iterator[Instruction]:
    """The rows of a shard; none when there is no such file."""
    return (Instruction.from_row(row) for row in read_rows(folder, name))


def read_pool(rounds: Sequence[Folder], partition: int) -> list[Instruction]:
    """The pool that comes after these rounds (round 0 first), one partition of it, sorted by root id.

    The pool holds one row for each root: what the last round kept of it. Where that round eliminated its try, the row that it
    tried to evolve stays in the pool as it is, un-evolved, and meets an operator drawn for the new round.
    """
    newest: dict[str, Instruction] = {}
    for folder in rounds:
        for row in read_instructions(folder, PART_NAME.format(partition)):
            newest[row.root_id] = row
    return [newest[root_id] for root_id in sorted(newest)]
