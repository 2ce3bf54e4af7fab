"""Writes the rows of a run: in pages of a few, with an index by word, by id and by what they are filtered by."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from evolcoder.console import Progress
from evolcoder.explore.families import Row, families, findings
from evolcoder.explore.postings import Index
from evolcoder.explore.reasons import meaning
from evolcoder.explore.shards import Shards
from evolcoder.explore.words import language_of, words_of
from evolcoder.storage.folders import Folder

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
    counts = _Counts()
    page: list[Row] = []
    number = 0
    with Index() as texts, Index() as responses:
        for family in families(rounds):
            first = number
            for row in family:
                row["language"] = language_of(_task(row), row["response"])
                row["family"] = [first, len(family)]
                row["evidence"] = evidence.get(row["id"], [])
                texts.add(number, {*_keys(row, number == first), *words_of(_task(row))})
                responses.add(number, words_of(row["response"]))
                counts.add(row)
                page.append(row)
                number += 1
                if len(page) == ROWS_PER_PAGE:
                    shards.put(f"rows/{number // ROWS_PER_PAGE - 1}", page)
                    page = []
            progress.update(number)
        if page:
            shards.put(f"rows/{number // ROWS_PER_PAGE}", page)
        indexes = {"instructions": texts.write(shards, "instructions"), "responses": responses.write(shards, "responses")}
    return {"count": number, "per_page": ROWS_PER_PAGE, "indexes": indexes, **counts.summary()}


def _task(row: Row) -> str:
    return f"{row['instruction']}\n{row['input']}" if row["input"] else str(row["instruction"])


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


class _Counts:
    """How many rows there are of each kind."""

    def __init__(self) -> None:
        self._by: dict[str, Counter[Any]] = {name: Counter() for name in FILTERS}
        self._rounds: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._reasons: defaultdict[str, Counter[int]] = defaultdict(Counter)

    def add(self, row: Row) -> None:
        for name in FILTERS:
            if row[name] is not None:
                self._by[name][row[name]] += 1
        self._rounds[row["round"]][row["status"]] += 1
        if row["reason"] is not None:
            self._reasons[row["reason"]][row["round"]] += 1

    def summary(self) -> dict[str, Any]:
        """Pairs rather than objects wherever a name comes from the run."""
        return {
            "filters": {name: sorted(counter.items()) for name, counter in self._by.items()},
            "rounds": [
                {"round": number, "kept": by["kept"], "eliminated": by["eliminated"]}
                for number, by in sorted(self._rounds.items())
            ],
            "reasons": [
                {"reason": reason, "meaning": meaning(reason), "by_round": sorted(by.items())}
                for reason, by in sorted(self._reasons.items())
            ],
        }
