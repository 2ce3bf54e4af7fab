"""From what an attempt left to the shards of a round: checked, compared with every earlier round, and merged.

Checking and merging are one task for each partition. One more task holds the fingerprints of all rows of the run (about 600
bytes each) and says which are duplicates. The driver holds counts, and the rows that were found to be copies.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from evolcoder.benchmark_table import benchmark_files
from evolcoder.evolve.copies.decontamination import CONTAMINATION_FILE, BenchmarkIndex, findings, rules_version
from evolcoder.evolve.copies.dedup import find_duplicates
from evolcoder.evolve.rounds.merge import (
    CONTAMINATED,
    DUPLICATE,
    Merged,
    check_partition,
    fingerprint_partition,
    merge_partition,
)
from evolcoder.problems.rows import read_problems
from evolcoder.settings.evolve import DedupSettings, EvolveSettings
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import FileEntry, describe_file

if TYPE_CHECKING:
    from evolcoder.evolve.rounds.in_driver import InDriver
    from evolcoder.evolve.rounds.on_ray import OnRay

DUPLICATES_FILE = "duplicates.json"
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
    """Make the round in ``folder``, an empty one, of what the attempt left.

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
    if not merged.failures:
        merged.files += _write_findings(folder, merged, copy_check)
    return merged


def _write_findings(folder: Folder, merged: Merged, copy_check: CopyCheck) -> list[FileEntry]:
    """What was found and why, beside the rows."""
    duplicates = sorted(merged.duplicates, key=lambda duplicate: duplicate.row_id)
    files: dict[str, dict[str, Any]] = {
        DUPLICATES_FILE: {"dedup": copy_check.dedup.identity(), "duplicates": list(map(asdict, duplicates))}
    }
    if copy_check.benchmarks:
        hits = sorted(merged.hits, key=lambda hit: (hit.row_id, hit.benchmark, hit.task_id))
        files[CONTAMINATION_FILE] = findings(
            rules_version(copy_check.benchmarks),
            {name: benchmark_files()[name].version for name in copy_check.benchmarks},
            merged.statuses["kept"] + merged.reasons[CONTAMINATED] + merged.reasons[DUPLICATE],
            [asdict(hit) for hit in hits],
        )
    for name, content in files.items():
        folder.write_text(name, json.dumps(content, indent=1, ensure_ascii=True) + "\n")
    return [describe_file(folder, name) for name in files]
