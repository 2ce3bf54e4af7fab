"""What evolution did to the rows, round by round. Arrow files are read a batch at a time, and only counts are held."""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evolcoder.evolve.copies.decontamination import CONTAMINATION_FILE
from evolcoder.storage.arrow_files import read_batches
from evolcoder.storage.folders import Folder
from evolcoder.storage.hashes import stable_hash
from evolcoder.study.evidence import difficulty
from evolcoder.study.evidence.difficulty import MEASURES, measured, quantiles

LINEAGES = 6
"""How many seeds are followed through the rounds in the report."""
_TEXT = ("instruction", "input", "response")
_LONGEST_SHOWN = 2_000
"""Characters of a text of a family; all of it is in the files."""


def reading_version() -> str:
    """Changes with what is read out of a round's rows, and how."""
    sources = [Path(module.__file__ or "").read_bytes() for module in (sys.modules[__name__], difficulty)]
    return stable_hash(*(source.decode("utf-8") for source in sources))


def round_evidence(folder: Folder) -> dict[str, Any]:
    """The counts of a finished round: rows by operator, outcome and reason; measures and languages of the kept ones; how many
    rows held a problem of which benchmark.
    """
    outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    values: dict[str, Counter[int]] = {measure.name: Counter() for measure in MEASURES}
    languages: Counter[str] = Counter()
    for name in folder.names("*.arrow"):
        for batch in read_batches(folder, name, ["operator", "status", "reason", *_TEXT]):
            for operator, status, reason, *texts in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                outcomes[operator]["kept" if status == "kept" else reason or status] += 1
                if status == "kept":
                    row = measured(*texts)
                    languages[row.language] += 1
                    for measure, value in row.values.items():
                        # Three significant digits, so that the counts of any number of rows are few.
                        values[measure][value if value < 1000 else int(float(f"{value:.2e}"))] += 1
    rows = sum((counts for counts in outcomes.values()), Counter())
    contamination = None  # compared with no benchmark
    if folder.exists(CONTAMINATION_FILE):
        found = json.loads(folder.read_text(CONTAMINATION_FILE))
        contamination = {key: found[key] for key in ("benchmarks", "rows_compared", "rows", "by_benchmark", "by_rule")}
    return {
        "rows": rows.total(),
        "kept": rows["kept"],
        "operators": [
            {"operator": operator, "rows": counts.total(), "kept": counts["kept"], "eliminated": _reasons(counts)}
            for operator, counts in sorted(outcomes.items())
        ],
        "eliminated": _reasons(rows),
        "measures": {measure.name: _spread(values[measure.name], measure.share) for measure in MEASURES},
        "languages": dict(languages.most_common()),
        "contamination": contamination,
    }


def _reasons(counts: Counter[str]) -> dict[str, int]:
    return {reason: count for reason, count in sorted(counts.items()) if reason != "kept"}


def _spread(counts: Counter[int], share: bool) -> dict[str, float] | None:
    """Of a share its mean, of a number its quartiles; None when no row has it."""
    rows = counts.total()
    if not rows:
        return None
    if share:
        return {"rows": rows, "value": counts[1] / rows}
    low, middle, high = quantiles(counts, (0.25, 0.5, 0.75))
    return {"rows": rows, "value": middle, "low": low, "high": high}


def lineages(rounds: Sequence[Folder]) -> list[list[dict[str, Any]]]:
    """The first few seeds, each with what the rounds made of it, eliminated tries included."""
    by_root: dict[str, list[dict[str, Any]]] = {}
    for number, folder in enumerate(rounds):
        for name in folder.names("*.arrow"):
            for batch in read_batches(folder, name):
                if number == 0:
                    for root in batch["root_id"].to_pylist()[: LINEAGES - len(by_root)]:
                        by_root.setdefault(root, [])
                mine = pc.is_in(batch["root_id"], value_set=pa.array(list(by_root), pa.string()))
                for row in batch.filter(mine).to_pylist():
                    told = {key: row[key] for key in ("id", "root_id", "round", "operator", "status", "reason")}
                    texts = {key: shortened(row[key], _LONGEST_SHOWN) for key in _TEXT}
                    by_root[row["root_id"]].append({**told, **texts})
    return list(by_root.values())


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} … ({len(text):,} characters)"
