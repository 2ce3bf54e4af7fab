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
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evolcoder.evolve.copies.minhash import Signature, rows_per_band, shingles, signature
from evolcoder.evolve.rules.elimination import normalised
from evolcoder.records import Instruction
from evolcoder.settings.evolve import DedupSettings
from evolcoder.storage.hashes import stable_hash

FORMAT = 1
"""Raised whenever other rows are duplicates than before."""

_WORD = re.compile(r"\w+(?:\+\+|#)?")
"""C, C++ and C# are three languages."""

_Ids = npt.NDArray[np.bytes_]


@dataclass(frozen=True)
class Fingerprints:
    """Of some rows, one array for each property; ``signatures`` has no columns where near-duplicates do not matter."""

    rounds: npt.NDArray[np.int32]
    ids: _Ids
    roots: _Ids
    tasks: _Ids
    signatures: Signature

    @classmethod
    def of(cls, rows: Iterable[Instruction], settings: DedupSettings) -> Fingerprints:
        rows = list(rows)
        columns = settings.permutations if settings.near else 0
        signatures = np.zeros((len(rows), columns), dtype=np.uint32)
        if columns:
            for number, row in enumerate(rows):
                found = shingles(_WORD.findall(f"{row.instruction}\n{row.input}".lower()))
                signatures[number] = signature(found, columns)
        return cls(
            np.array([row.round for row in rows], dtype=np.int32),
            np.array([row.id for row in rows], dtype="S20"),  # ids and hashes are 20 hexadecimal digits
            np.array([row.root_id for row in rows], dtype="S20"),
            np.array([task_hash(row) for row in rows], dtype="S20"),
            signatures,
        )

    @classmethod
    def together(cls, parts: Sequence[Fingerprints]) -> Fingerprints:
        """All of them, in the order of round and id."""
        names = ("rounds", "ids", "roots", "tasks", "signatures")
        columns = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
        order = np.lexsort((columns[1], columns[0]))
        return cls(*(column[order] for column in columns))


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
    rows = Fingerprints.together(parts)
    keys = _band_keys(rows.signatures, settings)
    # Most rows share neither their task nor a band with any other: they are compared with nothing, and held in no dictionary.
    suspects = _shared(rows.tasks)
    for of_rows in keys:
        suspects |= _shared(of_rows)
    duplicates: dict[str, Duplicate] = {}
    kept_by_task: dict[bytes, int] = {}
    kept_by_band: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place in np.flatnonzero(suspects).tolist():
        bands = [(number, int(of_rows[place])) for number, of_rows in enumerate(keys)]
        found = None
        if rows.rounds[place] == round_number:
            near = {other for band in bands for other in kept_by_band.get(band, ())}
            found = _first_like(rows, place, kept_by_task.get(rows.tasks[place]), near, settings.threshold)
        if found is not None:
            duplicates[found.row_id] = found
            continue
        kept_by_task.setdefault(rows.tasks[place], place)
        for band in bands:
            kept_by_band[band].append(place)
    return duplicates


def _first_like(rows: Fingerprints, place: int, same: int | None, near: Collection[int], threshold: float) -> Duplicate | None:
    """What the row there says again of those that stay: the one that is the ``same``, or the first of those that are near."""
    if same is not None:
        other, kind, similarity = same, "exact", 1.0
    else:
        others = [one for one in sorted(near) if rows.roots[one] != rows.roots[place]]
        if not others:
            return None
        similarities = np.mean(rows.signatures[others] == rows.signatures[place], axis=1)
        similar = np.flatnonzero(similarities >= threshold)
        if not len(similar):
            return None
        other, kind, similarity = others[similar[0]], "near", round(float(similarities[similar[0]]), 3)
    return Duplicate(rows.ids[place].decode(), rows.ids[other].decode(), kind, similarity)


def _band_keys(signatures: Signature, settings: DedupSettings) -> list[npt.NDArray[np.uint64]]:
    """For each band, a number for each row that is the same where the band is."""
    if not signatures.shape[1]:
        return []
    width = rows_per_band(settings.threshold, settings.permutations)
    # 64 bits in the place of a band's bytes. Two bands that fall together by chance make a candidate more, and no duplicate.
    factors = np.array([pow(0x9E3779B97F4A7C15, power + 1, 1 << 64) for power in range(width)], dtype=np.uint64)
    starts = range(0, settings.permutations - width + 1, width)
    return [(signatures[:, start : start + width] * factors).sum(axis=1, dtype=np.uint64) for start in starts]


def _shared(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where a value is that others have too."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray(counts[where] > 1)
