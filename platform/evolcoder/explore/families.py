"""The rows of a run, family by family: a seed and all that the rounds made of it, each with the evidence against it."""

from __future__ import annotations

import heapq
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from evolcoder.evolve.copies.decontamination import CONTAMINATION_FILE
from evolcoder.evolve.rounds.gather import DUPLICATES_FILE
from evolcoder.storage.arrow_files import read_rows
from evolcoder.storage.folders import Folder

Row = dict[str, Any]


def families(rounds: Sequence[Folder]) -> Iterator[list[Row]]:
    """Each family's rows, by round. Partition p of every round holds the same roots, sorted, so that one batch of rows of each
    round is in memory at a time.
    """
    found = [(folder, name) for folder in rounds for name in folder.names("*.arrow")]
    by_partition: defaultdict[str, list[tuple[Folder, str]]] = defaultdict(list)
    for folder, name in found:
        by_partition[name.rpartition("-")[2]].append((folder, name))
    for _, files in sorted(by_partition.items()):
        rows = heapq.merge(*(read_rows(*file) for file in files), key=lambda row: (row["root_id"], row["round"]))
        for _, family in groupby(rows, key=lambda row: row["root_id"]):
            yield list(family)


def findings(folder: Folder) -> dict[str, list[Row]]:
    """What was found against rows of a round, by row: which row they repeat, which problems of a benchmark they hold."""
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for file, key in ((DUPLICATES_FILE, "duplicates"), (CONTAMINATION_FILE, "hits")):
        if folder.exists(file):
            for finding in json.loads(folder.read_text(file))[key]:
                found[finding.pop("row_id")].append(finding)
    return found
