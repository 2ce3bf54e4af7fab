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
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evolcoder.evolve.copies.minhash import Signature, rows_per_band, shingles, signature
from evolcoder.evolve.rules.elimination import normalised
from evolcoder.records import Instruction
from evolcoder.settings import DedupSettings
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

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def task_hash(row: Instruction) -> str:
    """The same for rows whose instruction and input differ in case, white space and closing punctuation alone."""
    return stable_hash(normalised(row.instruction), normalised(row.input))


def find_duplicates(settings: DedupSettings, round_number: int, parts: Sequence[Fingerprints]) -> dict[str, Duplicate]:
    """The rows of this round that fall, by id, given all rows of it and all that earlier rounds kept."""
    rows = Fingerprints.together(parts)
    keys = _band_keys(rows.signatures, settings)
    # Most rows share neither their task nor a band with any other: they are compared with nothing, and held in no dictionary.
    suspects = _shared(rows.tasks)
    for band in keys:
        suspects |= _shared(band)
    kept = _Kept(rows, keys, settings.threshold)
    duplicates: dict[str, Duplicate] = {}
    for place in np.flatnonzero(suspects).tolist():
        found = kept.duplicate(place) if rows.rounds[place] == round_number else None
        if found is None:
            kept.add(place)
        else:
            duplicates[found.row_id] = found
    return duplicates


class _Kept:
    """Rows that stay, found again by task and by band."""

    def __init__(self, rows: Fingerprints, keys: Sequence[npt.NDArray[np.uint64]], threshold: float) -> None:
        self._rows = rows
        self._keys = keys
        self._threshold = threshold
        self._by_task: dict[bytes, int] = {}
        self._by_band: list[dict[int, list[int]]] = [defaultdict(list) for _ in keys]

    def add(self, place: int) -> None:
        self._by_task.setdefault(self._rows.tasks[place], place)
        for band, keys in zip(self._by_band, self._keys, strict=True):
            band[int(keys[place])].append(place)

    def duplicate(self, place: int) -> Duplicate | None:
        """What the row says again, if it does: the first row that stays."""
        same = self._by_task.get(self._rows.tasks[place])
        if same is not None:
            return self._duplicate(place, same, "exact", 1.0)
        near = {other for band, keys in zip(self._by_band, self._keys, strict=True) for other in band.get(int(keys[place]), ())}
        others = [other for other in sorted(near) if self._rows.roots[other] != self._rows.roots[place]]
        if not others:
            return None
        similarities = np.mean(self._rows.signatures[others] == self._rows.signatures[place], axis=1)
        similar = np.flatnonzero(similarities >= self._threshold)
        if not len(similar):
            return None
        return self._duplicate(place, others[similar[0]], "near", round(float(similarities[similar[0]]), 3))

    def _duplicate(self, place: int, other: int, kind: str, similarity: float) -> Duplicate:
        return Duplicate(self._rows.ids[place].decode(), self._rows.ids[other].decode(), kind, similarity)


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
