"""Which rows say again what another row says: exactly, or nearly by MinHash. Pure.

Rows are compared by their task, instruction and input together, in the order of round and id: the first stays, a later one
that is its duplicate falls. Nothing else decides it, neither the order in which rows come nor on how many workers. Rows of
one lineage are no near-duplicates of each other: an evolved task is meant to be near its parent.

A row is held as its fingerprint: ids, a hash and a signature of ``4 x permutations`` bytes. ``find_duplicates`` looks at all
fingerprints of a run at once; nothing else here grows with the rows.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evolcoder.evolve.copies.minhash import band_keys, shingles, signature
from evolcoder.evolve.rules.elimination import normalised
from evolcoder.records import Instruction
from evolcoder.settings.evolve import DedupSettings
from evolcoder.storage.hashes import stable_hash

FORMAT = 1
"""Raised whenever other rows are duplicates than before."""

_WORD = re.compile(r"\w+(?:\+\+|#)?")
"""C, C++ and C# are three languages."""

Fingerprints = npt.NDArray[np.void]
"""Of some rows: ``round``, ``id``, ``root``, ``task`` and ``signature``, which is empty where near-duplicates do not matter."""


def fingerprints(rows: Iterable[Instruction], settings: DedupSettings) -> Fingerprints:
    permutations = settings.permutations if settings.near else 0
    kinds = {"round": "i4", "id": "S20", "root": "S20", "task": "S20"}  # ids and hashes are 20 hexadecimal digits
    made = []
    for row in rows:
        found = shingles(_WORD.findall(f"{row.instruction}\n{row.input}".lower()))
        signed = signature(found, permutations) if permutations else ()
        made.append((row.round, row.id, row.root_id, task_hash(row), signed))
    return np.array(made, dtype=[*kinds.items(), ("signature", "u4", (permutations,))])


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A row that falls. ``similarity`` is 1 for an exact duplicate, else what the signatures estimate."""

    row_id: str
    duplicate_of: str
    kind: str
    similarity: float


def task_hash(row: Instruction) -> str:
    """The same for rows whose instruction and input differ in case, white space and closing punctuation alone."""
    return stable_hash(normalised(row.instruction), normalised(row.input))


def find_duplicates(settings: DedupSettings, round_number: int, *parts: Fingerprints) -> dict[str, Duplicate]:
    """The rows of this round that fall, by id, given all rows of it and all that earlier rounds kept."""
    rows = np.concatenate(parts)
    rows = rows[np.lexsort((rows["id"], rows["round"]))]
    keys = band_keys(rows["signature"], settings.threshold)
    # Most rows share neither their task nor a band with any other: they are compared with nothing, and held in no dictionary.
    suspects = np.zeros(len(rows), dtype=bool)
    for column in (rows["task"], *keys.T):
        _, where, counts = np.unique(column, return_inverse=True, return_counts=True)
        suspects |= counts[where] > 1
    duplicates: dict[str, Duplicate] = {}
    kept_by_task: dict[bytes, int] = {}
    kept_by_band: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place in np.flatnonzero(suspects).tolist():
        bands = list(enumerate(keys[place].tolist()))
        found = None
        if rows["round"][place] == round_number:
            near = {other for band in bands for other in kept_by_band.get(band, ())}
            found = _first_like(rows, place, kept_by_task.get(rows["task"][place]), near, settings.threshold)
        if found is not None:
            duplicates[found.row_id] = found
            continue
        kept_by_task.setdefault(rows["task"][place], place)
        for band in bands:
            kept_by_band[band].append(place)
    return duplicates


def _first_like(rows: Fingerprints, place: int, same: int | None, near: Collection[int], threshold: float) -> Duplicate | None:
    """What the row there says again of those that stay: the one that is the ``same``, or the first of those that are near."""
    if same is not None:
        other, kind, similarity = same, "exact", 1.0
    else:
        others = [one for one in sorted(near) if rows["root"][one] != rows["root"][place]]
        if not others:
            return None
        similarities = np.mean(rows["signature"][others] == rows["signature"][place], axis=1)
        similar = np.flatnonzero(similarities >= threshold)
        if not len(similar):
            return None
        other, kind, similarity = others[similar[0]], "near", round(float(similarities[similar[0]]), 3)
    return Duplicate(rows["id"][place].decode(), rows["id"][other].decode(), kind, similarity)
