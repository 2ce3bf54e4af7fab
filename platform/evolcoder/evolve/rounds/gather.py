"""From what an attempt left to the shards of a round, on Ray: checked, compared with every earlier round, and merged.

Checking and merging are one task for each partition. One more task holds the fingerprints of all rows of the run (about 600
bytes each) and says which are duplicates. The driver holds counts, and the rows that were found to be copies.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import ray

from evolcoder.benchmark_table import benchmark_files
from evolcoder.evolve.copies.decontamination import CONTAMINATION_FILE, BenchmarkIndex, rules_version, summary_of_hits
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
from evolcoder.settings import DedupSettings, EvolveSettings
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import FileEntry, describe_file

DUPLICATES_FILE = "duplicates.json"
SMALL_TASK_CPUS = 0.1
_CHECK_TASK_CPUS = 0.4
"""Checking computes all the time, and each task holds the benchmarks' index; an engine on a small machine leaves half a CPU."""


@dataclass(frozen=True)
class CopyCheck:
    """What rows are compared with: the benchmarks' index, in Ray's object store, and each other."""

    benchmarks: tuple[str, ...]
    dedup: DedupSettings
    index: Any | None

    @classmethod
    def of(cls, settings: EvolveSettings) -> CopyCheck:
        """
        Raises:
            DataError: the data of a benchmark is not there.
        """
        benchmarks = tuple(sorted(set(settings.decontaminate)))
        return cls(benchmarks, settings.dedup, ray.put(BenchmarkIndex(read_problems(benchmarks))) if benchmarks else None)


def gather(attempt: Folder, earlier: Sequence[Folder], folder: Folder, partitions: int, copy_check: CopyCheck) -> Merged:
    """Make the round in ``folder``, an empty one, of what the attempt left.

    Args:
        earlier: the rounds before, round 0 first; none for round 0.
    """
    check = ray.remote(check_partition).options(num_cpus=_CHECK_TASK_CPUS, num_returns=2)
    checked = [check.remote(attempt, partition, copy_check.index, copy_check.dedup) for partition in range(partitions)]
    fingerprint = ray.remote(fingerprint_partition).options(num_cpus=SMALL_TASK_CPUS)
    known = [fingerprint.remote(place, partition, copy_check.dedup) for place in earlier for partition in range(partitions)]
    find = ray.remote(find_duplicates).options(num_cpus=SMALL_TASK_CPUS)
    duplicates = find.remote(copy_check.dedup, len(earlier), *known, *(prints for _, prints in checked))
    merge = ray.remote(merge_partition).options(num_cpus=SMALL_TASK_CPUS)
    pending = [
        merge.remote(attempt, earlier, folder, partition, hits, duplicates) for partition, (hits, _) in enumerate(checked)
    ]
    merged = Merged()
    for reference in pending:
        merged.add(ray.get(reference))
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
        files[CONTAMINATION_FILE] = {
            "rules": rules_version(copy_check.benchmarks),
            "benchmarks": {name: benchmark_files()[name].version for name in copy_check.benchmarks},
            "rows_compared": merged.statuses["kept"] + merged.reasons[CONTAMINATED] + merged.reasons[DUPLICATE],
            **summary_of_hits(hits),
            "hits": list(map(asdict, hits)),
        }
    for name, content in files.items():
        folder.write_text(name, json.dumps(content, indent=1, ensure_ascii=True) + "\n")
    return [describe_file(folder, name) for name in files]
