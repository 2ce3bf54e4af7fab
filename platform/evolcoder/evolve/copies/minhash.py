"""MinHash: signatures, the bands that bring near-duplicates together, and an index of sets. Pure; `rensa` does the hashing.

A signature has as many 32-bit numbers as there are permutations; the share of places where two agree estimates the Jaccard
similarity of their shingles. Cut into bands, two signatures that agree in a whole band are candidates: with b bands of r
rows, a pair of similarity s is one with probability 1 - (1 - s^r)^b.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from rensa import RMinHash

Signature = npt.NDArray[np.uint32]

SHINGLE_WORDS = 3
_SEED = 1
_INDEX_PERMUTATIONS = 128
_MISSED_AT_THRESHOLD = 0.02
"""The largest chance to miss a pair that is exactly as similar as the threshold."""


def shingles(words: Sequence[str], size: int = SHINGLE_WORDS) -> set[str]:
    """Every run of ``size`` words; of a shorter text, the whole."""
    if len(words) <= size:
        return {" ".join(words)} if words else set()
    return {" ".join(words[start : start + size]) for start in range(len(words) - size + 1)}


def signature(shingles: Iterable[str], permutations: int) -> Signature:
    """The same for the same set of shingles, on any machine."""
    minhash = RMinHash(num_perm=permutations, seed=_SEED)
    minhash.update(list(shingles))
    return np.array(minhash.digest(), dtype=np.uint32)


@lru_cache(maxsize=64)
def rows_per_band(threshold: float, permutations: int) -> int:
    """The longest bands that still find nearly every pair at the threshold: longer ones make fewer false candidates."""
    for rows in range(permutations, 1, -1):
        bands = permutations // rows
        if (1 - threshold**rows) ** bands <= _MISSED_AT_THRESHOLD:
            return rows
    return 1


def band_keys(signatures: Signature, threshold: float) -> npt.NDArray[np.uint64]:
    """For each row of signatures and each whole band, a number that is the same where the band is."""
    rows = rows_per_band(threshold, signatures.shape[1])
    bands = signatures.shape[1] // rows
    # 64 bits in the place of a band's bytes. Two bands that fall together by chance make a candidate more, and no duplicate.
    factors = np.array([pow(0x9E3779B97F4A7C15, power + 1, 1 << 64) for power in range(rows)], dtype=np.uint64)
    # einsum multiplies without a copy of all signatures in 64 bits.
    cut = signatures[:, : bands * rows].reshape(len(signatures), bands, rows)
    return np.asarray(np.einsum("nbr,r->nb", cut, factors))


class NearIndex:
    """Sets of shingles, each with a number of its owner; looked up by how much of them another set shares."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._known: list[tuple[int, frozenset[str]]] = []
        self._buckets: dict[tuple[int, int], list[int]] = defaultdict(list)

    def add(self, owner: int, shingles: Iterable[str]) -> None:
        known = frozenset(shingles)
        for band in self._bands(known):
            self._buckets[band].append(len(self._known))
        self._known.append((owner, known))

    def find(self, shingles: Set[str]) -> Iterator[tuple[int, float]]:
        """Owners of sets whose Jaccard similarity is at least the threshold, with it, in the order in which they were added.

        The bands only bring candidates: what is compared with the threshold is counted, not estimated.
        """
        for place in sorted({place for band in self._bands(shingles) for place in self._buckets.get(band, ())}):
            owner, known = self._known[place]
            share = len(shingles & known) / len(shingles | known)
            if share >= self._threshold:
                yield owner, share

    def _bands(self, shingles: Iterable[str]) -> Iterator[tuple[int, int]]:
        [keys] = band_keys(signature(shingles, _INDEX_PERMUTATIONS)[np.newaxis], self._threshold)
        return enumerate(keys.tolist())
