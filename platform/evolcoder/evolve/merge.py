"""From the files that an attempt's tasks left to one partition of a round; and the counts that its manifest shows. No Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from evolcoder.errors import RunFolderError
from evolcoder.evolve.shards import part_name, read_instructions, read_pool, rejected_name, write_shard
from evolcoder.records import Instruction
from evolcoder.runs import FileEntry, Folder


@dataclass
class Merged:
    """What a merge of one partition, or of several, found and wrote.

    ``failures`` counts failed rows by fault, and ``examples`` holds one whole reason for each.
    """

    files: list[FileEntry] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    by_operator: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    tokens: Counter[str] = field(default_factory=Counter)

    def add(self, other: Merged) -> None:
        self.files += other.files
        self.statuses.update(other.statuses)
        self.by_operator.update(other.by_operator)
        self.failures.update(other.failures)
        self.examples = other.examples | self.examples
        self.tokens.update(other.tokens)

    def count(self, row: Instruction) -> None:
        self.statuses[row.status] += 1
        self.tokens.update(prompt=row.prompt_tokens, completion=row.completion_tokens)
        if row.status == "failed":
            reason = row.reason or "unknown"
            fault = reason.partition(":")[0]
            self.failures[fault] += 1
            self.examples.setdefault(fault, reason)
        else:
            self.by_operator[row.operator, row.reason or "kept"] += 1

    @property
    def summary(self) -> dict[str, Any]:
        operators: dict[str, dict[str, int]] = {}
        for (operator, outcome), rows in sorted(self.by_operator.items()):
            operators.setdefault(operator, {})[outcome] = rows
        return {
            "rows": self.statuses.total(),
            "kept": self.statuses["kept"],
            "eliminated": self.statuses["eliminated"],
            "operators": operators,
            "prompt_tokens": self.tokens["prompt"],
            "completion_tokens": self.tokens["completion"],
        }


def merge_partition(attempt: Folder, earlier: Sequence[Folder], folder: Folder, partition: int) -> Merged:
    """Write one partition of a round, unless a row of it failed.

    Args:
        attempt: holds ``<partition>/*.arrow``; a row that two tasks wrote counts once.
        earlier: the folders of the rounds before, round 0 first, from which the pool came.

    Raises:
        RunFolderError: the attempt does not hold every member of the pool, or holds others.
    """
    source = attempt / f"{partition:05d}"
    rows = {row.root_id: row for name in source.names("*.arrow") for row in read_instructions(source, name)}
    lost = {member.root_id for member in read_pool(earlier, partition)} ^ set(rows)
    if lost:
        raise RunFolderError(f"{len(lost)} rows were lost on the way to {source}; run the same command again.")
    merged = Merged()
    ordered = [rows[root_id] for root_id in sorted(rows)]
    for row in ordered:
        merged.count(row)
    if not merged.failures:
        merged.files += write_shard(folder, part_name(partition), [row for row in ordered if row.status == "kept"])
        merged.files += write_shard(folder, rejected_name(partition), [row for row in ordered if row.status == "eliminated"])
    return merged
