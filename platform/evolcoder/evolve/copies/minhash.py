"""MinHash signatures and the bands that bring near-duplicates together. Pure; the hashing is the `rensa` package's.

A signature has as many 32-bit numbers as there are permutations; the share of places where two agree estimates the Jaccard
similarity of their shingles. Cut into bands, two signatures that agree in a whole band are candidates: with b bands of r
rows, a pair of similarity s is one with probability 1 - (1 - s^r)^b.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from rensa import RMinHash

Signature = npt.NDArray[np.uint32]

SHINGLE_WORDS = 3
_SEED = 1
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


def similarity(one: Signature, other: Signature) -> float:
    """The estimate of the Jaccard similarity of what two signatures stand for."""
    return float(np.mean(one == other))


@lru_cache(maxsize=64)
def rows_per_band(threshold: float, permutations: int) -> int:
    """The longest bands that still find nearly every pair at the threshold: longer ones make fewer false candidates."""
    for rows in range(permutations, 1, -1):
        bands = permutations // rows
        if (1 - threshold**rows) ** bands <= _MISSED_AT_THRESHOLD:
            return rows
    return 1


def band_keys(signature: Signature, rows: int) -> list[bytes]:
    """One key for each whole band; keys of different bands differ."""
    data = signature.tobytes()
    width = rows * signature.itemsize
    return [start.to_bytes(4, "big") + data[start : start + width] for start in range(0, len(data) - width + 1, width)]
