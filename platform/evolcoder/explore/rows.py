"""Writes the rows of a run, family by family and each with the evidence against it: in pages of a few, with an index by word,
by id and by what they are filtered by.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from evolcoder.console import Progress
from evolcoder.evolve.copies.decontamination import CONTAMINATION_FILE
from evolcoder.evolve.rounds.gather import DUPLICATES_FILE
from evolcoder.explore.postings import Index
from evolcoder.explore.reasons import meaning
from evolcoder.explore.shards import Shards
from evolcoder.explore.words import language_of, words_of
from evolcoder.storage.arrow_files import read_rows
from evolcoder.storage.folders import Folder

Row = dict[str, Any]
ROWS_PER_PAGE = 8
"""A search shows rows of many pages, so a page is small."""

FILTERS = ("round", "operator", "status", "reason", "language")
"""Each value of each is a word of the index, ``=<filter>:<value>``. So are each id, ``=id:<id>``, each family's root,
``=family:<id>``, and the problems of benchmarks that were found in a row. No word of a text has a ``=``."""


def write_rows(rounds: Sequence[Folder], shards: Shards, progress: Progress) -> dict[str, Any]:
    """Write all rows of these rounds, and return what the pages need to know of them.

    Rows are numbered family by family, so that a family is a number and a count.
    """
    evidence = {row_id: found for folder in rounds for row_id, found in findings(folder).items()}
    kinds: Counter[tuple[Any, ...]] = Counter()
    page: list[Row] = []
    number = 0
    with TemporaryDirectory(prefix="evolcoder-index-") as place:
        texts, responses = (Index(name, Path(place)) for name in ("instructions", "responses"))
        for family in families(rounds):
            first = number
            for row in family:
                task = f"{row['instruction']}\n{row['input']}" if row["input"] else str(row["instruction"])
                row["language"] = language_of(task, row["response"])
                row["family"] = [first, len(family)]
                row["evidence"] = evidence.get(row["id"], [])
                texts.add(number, {*_keys(row, number == first), *words_of(task)})
                responses.add(number, words_of(row["response"]))
                kinds[tuple(row[name] for name in FILTERS)] += 1
                page.append(row)
                number += 1
                if len(page) == ROWS_PER_PAGE:
                    shards.put(f"rows/{number // ROWS_PER_PAGE - 1}", page)
                    page = []
            progress.update(number)
        if page:
            shards.put(f"rows/{number // ROWS_PER_PAGE}", page)
        indexes = {"instructions": texts.write(shards), "responses": responses.write(shards)}
    return {"count": number, "per_page": ROWS_PER_PAGE, "indexes": indexes, **_counts(kinds)}


def families(rounds: Sequence[Folder]) -> Iterator[list[Row]]:
    """A seed and all that the rounds made of it, by round.

    Partition p of every round holds the same roots, sorted, so that one batch of rows of each round is in memory at a time.
    """
    by_partition: defaultdict[str, list[tuple[Folder, str]]] = defaultdict(list)
    for folder in rounds:
        for name in folder.names("*.arrow"):
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


def _keys(row: Row, first: bool) -> Iterator[str]:
    """What is found by more than words; the first row of a family stands for it."""
    yield f"=id:{row['id']}"
    if first:
        yield f"=family:{row['root_id']}"
    for name in FILTERS:
        if row[name] is not None:
            yield f"={name}:{row[name]}"
    for found in row["evidence"]:
        if "benchmark" in found:
            yield f"=problem:{found['benchmark']} {found['task_id']}"


def _counts(kinds: Mapping[tuple[Any, ...], int]) -> dict[str, Any]:
    """How many rows there are of each kind; pairs rather than objects wherever a name comes from the run.

    Args:
        kinds: how many rows have these values of all filters.
    """
    filters: dict[str, Counter[Any]] = {name: Counter() for name in FILTERS}
    rounds: defaultdict[int, Counter[str]] = defaultdict(Counter)
    reasons: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for values, count in kinds.items():
        row = dict(zip(FILTERS, values, strict=True))
        for name, value in row.items():
            if value is not None:
                filters[name][value] += count
        rounds[row["round"]][row["status"]] += count
        if row["reason"] is not None:
            reasons[row["reason"]][row["round"]] += count
    return {
        "filters": {name: sorted(counter.items()) for name, counter in filters.items()},
        "rounds": [
            {"round": number, "kept": by["kept"], "eliminated": by["eliminated"]} for number, by in sorted(rounds.items())
        ],
        "reasons": [
            {"reason": reason, "meaning": meaning(reason), "by_round": sorted(by.items())}
            for reason, by in sorted(reasons.items())
        ],
    }
