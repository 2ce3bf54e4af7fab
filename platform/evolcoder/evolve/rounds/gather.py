"""From what an attempt left to the shards of a round: checked, compared with every earlier round, and merged. No Ray.

First each partition is *checked*: its rows are compared with the benchmarks, and the fingerprints of those that stay are made.
One more task holds the fingerprints of all rows of the run (about 600 bytes each) and says which are duplicates. Then each
partition is *merged*: what was found falls, and the shards are written. The driver holds counts, and the rows that were found
to be copies.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from evolcoder.benchmark_table import benchmark_files
from evolcoder.errors import RunFolderError
from evolcoder.evolve.copies.decontamination import CONTAMINATION_FILE, BenchmarkIndex, Hit, findings, rules_version
from evolcoder.evolve.copies.dedup import Duplicate, Fingerprints, find_duplicates, fingerprints
from evolcoder.evolve.rounds.shards import PART_NAME, REJECTED_NAME, read_instructions, read_pool, write_shard
from evolcoder.evolve.rules.operators import task_text
from evolcoder.problems.rows import read_problems
from evolcoder.records import Instruction
from evolcoder.settings.evolve import DedupSettings, EvolveSettings
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import FileEntry, describe_file

if TYPE_CHECKING:
    from evolcoder.evolve.rounds.in_driver import InDriver
    from evolcoder.evolve.rounds.on_ray import OnRay

DUPLICATES_FILE = "duplicates.json"
KEPT = "kept"
CONTAMINATED = "contaminated"
DUPLICATE = "duplicate"
_SMALL_TASK_CPUS = 0.1
_CHECK_TASK_CPUS = 0.4
"""Checking computes all the time, and each task holds the benchmarks' index; an engine on a small machine leaves half a CPU."""


@dataclass(frozen=True)
class CopyCheck:
    """What rows are compared with, the benchmarks' index and each other, and where."""

    place: InDriver | OnRay
    benchmarks: tuple[str, ...]
    dedup: DedupSettings
    index: Any | None

    @classmethod
    def of(cls, settings: EvolveSettings, place: InDriver | OnRay) -> CopyCheck:
        """
        Raises:
            DataError: the data of a benchmark is not there.
        """
        benchmarks = tuple(sorted(set(settings.decontaminate)))
        index = place.put(BenchmarkIndex(read_problems(benchmarks))) if benchmarks else None
        return cls(place, benchmarks, settings.dedup, index)


def gather(attempt: Folder, earlier: Sequence[Folder], folder: Folder, partitions: int, copy_check: CopyCheck) -> Merged:
    """Make the round in ``folder``, an empty one, of what the attempt left; and beside its rows, what fell as a copy of what.

    Args:
        earlier: the rounds before, round 0 first; none for round 0.
    """
    place, dedup = copy_check.place, copy_check.dedup
    checked = [
        place.submit(check_partition, attempt, partition, copy_check.index, dedup, num_cpus=_CHECK_TASK_CPUS, num_returns=2)
        for partition in range(partitions)
    ]
    known = [
        place.submit(fingerprint_partition, one, partition, dedup, num_cpus=_SMALL_TASK_CPUS)
        for one in earlier
        for partition in range(partitions)
    ]
    prints = (*known, *(made for _, made in checked))
    duplicates = place.submit(find_duplicates, dedup, len(earlier), *prints, num_cpus=_SMALL_TASK_CPUS)
    pending = [
        place.submit(merge_partition, attempt, earlier, folder, partition, hits, duplicates, num_cpus=_SMALL_TASK_CPUS)
        for partition, (hits, _) in enumerate(checked)
    ]
    merged = Merged()
    for task in pending:
        merged.add(place.result(task))
    if merged.failures:
        return merged
    fell = sorted(merged.duplicates, key=lambda duplicate: duplicate.row_id)
    found: dict[str, dict[str, Any]] = {
        DUPLICATES_FILE: {"dedup": dedup.identity(), "duplicates": [asdict(duplicate) for duplicate in fell]}
    }
    if copy_check.benchmarks:
        found[CONTAMINATION_FILE] = findings(
            rules_version(copy_check.benchmarks),
            {name: benchmark_files()[name].version for name in copy_check.benchmarks},
            merged.statuses[KEPT] + merged.reasons[CONTAMINATED] + merged.reasons[DUPLICATE],
            [asdict(hit) for hit in sorted(merged.hits, key=lambda hit: (hit.row_id, hit.benchmark, hit.task_id))],
        )
    for name, content in found.items():
        folder.write_text(name, json.dumps(content, indent=1, ensure_ascii=True) + "\n")
    merged.files += [describe_file(folder, name) for name in found]
    return merged


@dataclass
class Merged:
    """What a merge of one partition, or of several, found and wrote.

    ``outcomes`` counts an operator's rows that were kept or fell, each for its reason; ``totals`` their tokens, and the words
    of the kept ones. ``failures`` counts failed rows by fault, and ``examples`` holds one whole reason for each.
    """

    files: list[FileEntry] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    totals: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    failures: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    hits: list[Hit] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)

    def add(self, other: Merged) -> None:
        self.files += other.files
        self.statuses.update(other.statuses)
        self.reasons.update(other.reasons)
        for operator in other.outcomes:
            self.outcomes[operator].update(other.outcomes[operator])
            self.totals[operator].update(other.totals[operator])
        self.failures.update(other.failures)
        self.examples = other.examples | self.examples
        self.hits += other.hits
        self.duplicates += other.duplicates

    def count(self, row: Instruction) -> None:
        self.statuses[row.status] += 1
        if row.status == "failed":
            reason = row.reason or "unknown"
            fault = reason.partition(":")[0]
            self.failures[fault] += 1
            self.examples.setdefault(fault, reason)
            return
        self.reasons.update([row.reason] if row.reason else [])
        self.outcomes[row.operator][row.reason or KEPT] += 1
        totals = self.totals[row.operator]
        totals.update(prompt_tokens=row.prompt_tokens, completion_tokens=row.completion_tokens)
        if row.status == KEPT:
            totals.update(instruction_words=len(row.instruction.split()), response_words=len(row.response.split()))

    def summary(self, usd: Callable[[int, int], float]) -> dict[str, Any]:
        """What the manifest says of a round of which no row failed; ``usd`` is the price of prompt and completion tokens."""
        operators: dict[str, dict[str, Any]] = {}
        for operator, outcomes in sorted(self.outcomes.items()):
            totals, kept = self.totals[operator], outcomes[KEPT]
            prompt, completion = totals["prompt_tokens"], totals["completion_tokens"]
            operators[operator] = {
                "kept": kept,
                "eliminated": {reason: rows for reason, rows in sorted(outcomes.items()) if reason != KEPT},
                "mean_instruction_words": round(totals["instruction_words"] / max(kept, 1), 1),
                "mean_response_words": round(totals["response_words"] / max(kept, 1), 1),
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "usd": usd(prompt, completion),
            }
        prompt, completion = (sum(one[name] for one in operators.values()) for name in ("prompt_tokens", "completion_tokens"))
        return {
            "rows": self.statuses.total(),
            "kept": self.statuses["kept"],
            "eliminated": self.statuses["eliminated"],
            "operators": operators,
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "usd": usd(prompt, completion),
        }


def check_partition(
    attempt: Folder, partition: int, index: BenchmarkIndex | None, dedup: DedupSettings
) -> tuple[list[Hit], Fingerprints]:
    """The benchmark problems among the attempt's kept rows, and the fingerprints of the rows that hold none."""
    rows = [row for row in read_attempt(attempt, partition).values() if row.status == "kept"]
    hits = []
    if index is not None:
        hits = [hit for row in rows for hit in index.hits(row.id, task_text(row.instruction, row.input), row.response)]
    contaminated = {hit.row_id for hit in hits}
    return hits, fingerprints((row for row in rows if row.id not in contaminated), dedup)


def fingerprint_partition(folder: Folder, partition: int, dedup: DedupSettings) -> Fingerprints:
    """The fingerprints of the rows that an earlier round kept."""
    return fingerprints(read_instructions(folder, PART_NAME.format(partition)), dedup)


def merge_partition(
    attempt: Folder,
    earlier: Sequence[Folder],
    folder: Folder,
    partition: int,
    hits: Sequence[Hit] = (),
    duplicates: Mapping[str, Duplicate] | None = None,
) -> Merged:
    """Write one partition of a round, unless a row of it failed.

    Args:
        attempt: holds ``<partition>/*.arrow``; a row that two tasks wrote counts once.
        earlier: the folders of the rounds before, round 0 first, from which the pool came; none for round 0.
        hits: what ``check_partition`` found.
        duplicates: rows of the whole round that fall, by id.

    Raises:
        RunFolderError: the attempt does not hold every member of the pool, or holds others.
    """
    rows = read_attempt(attempt, partition)
    lost = {member.root_id for member in read_pool(earlier, partition)} ^ set(rows) if earlier else ()
    if lost:
        raise RunFolderError(f"{len(lost)} rows were lost on the way to {attempt}; run the same command again.")
    merged = Merged(hits=list(hits))
    reasons = {hit.row_id: CONTAMINATED for hit in hits}
    ordered = []
    for root_id in sorted(rows):
        row = rows[root_id]
        if duplicates and row.id in duplicates:
            merged.duplicates.append(duplicates[row.id])
            reasons[row.id] = DUPLICATE
        if row.id in reasons:
            row = replace(row, status="eliminated", reason=reasons[row.id])
        ordered.append(row)
        merged.count(row)
    if not merged.failures:
        for name, status in ((PART_NAME, "kept"), (REJECTED_NAME, "eliminated")):
            merged.files += write_shard(folder, name.format(partition), [row for row in ordered if row.status == status])
    return merged


def read_attempt(attempt: Folder, partition: int) -> dict[str, Instruction]:
    """The rows that an attempt's tasks left for a partition, by root."""
    source = attempt / f"{partition:05d}"
    return {row.root_id: row for name in source.names("*.arrow") for row in read_instructions(source, name)}
