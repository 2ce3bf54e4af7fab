"""Which problems share a run of 13 telling words with a text: hashes in sorted arrays, small and quick to send. Pure."""

from __future__ import annotations

import builtins
import keyword
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

GRAM_WORDS = 13
FEWEST_TELLING_WORDS = 4
SHARED_BY_PROBLEMS = 10
"""What more problems than these share, such as a harness or imports, says nothing of any of them."""
_MOST_PROBLEMS = 3
_COMMON_NAMES = (
    "arr array nums num lst data node self left right result res count total temp key value x1 x2 str1 str2 numpy np pandas pd "
    "matplotlib pyplot plt seaborn sns sklearn tensorflow tf torch scipy"
)
_IDIOM = frozenset((*map(str.lower, dir(builtins)), *map(str.lower, keyword.kwlist), *_COMMON_NAMES.split()))
"""Words that say nothing of a task: those of Python, and of what everyone writes in it."""
# The hash of an n-gram is a polynomial in the hashes of its words, modulo 2**64: all windows of a text in one product.
_FACTORS = np.array([pow(0x9E3779B97F4A7C15, power, 1 << 64) for power in range(GRAM_WORDS)], dtype=np.uint64)

Hashes = npt.NDArray[np.uint64]


def is_telling(word: str) -> bool:
    """Whether a word may say something of a task: no number, no single letter, no idiom."""
    return len(word) > 1 and not word[0].isdigit() and word not in _IDIOM


@dataclass(frozen=True)
class Grams:
    """The hashes of n-grams, sorted, each with the first problem that holds it."""

    hashes: Hashes
    owners: npt.NDArray[np.int32]

    @classmethod
    def of(cls, texts: Iterable[tuple[int, Sequence[str]]]) -> Grams:
        """An index of (problem, words): n-grams of mere idiom, and those that many problems share, are left out."""
        holders: dict[int, set[int]] = defaultdict(set)
        for owner, words in texts:
            if len(words) < GRAM_WORDS:
                continue
            telling = np.fromiter(map(is_telling, words), dtype=np.int64, count=len(words))
            enough = np.lib.stride_tricks.sliding_window_view(telling, GRAM_WORDS).sum(axis=1) >= FEWEST_TELLING_WORDS
            for gram in _hashes(words)[enough].tolist():
                holders[gram].add(owner)
        kept = sorted((gram, min(owners)) for gram, owners in holders.items() if len(owners) <= SHARED_BY_PROBLEMS)
        hashes = np.array([gram for gram, _ in kept], dtype=np.uint64)
        return cls(hashes, np.array([owner for _, owner in kept], dtype=np.int32))

    def find(self, words: Sequence[str]) -> Iterator[tuple[int, str]]:
        """Up to three problems that share most n-grams with the words, each with the first of these."""
        hashes = _hashes(words)
        if not len(hashes) or not len(self.hashes):
            return
        # searchsorted answers one past the end for what is larger than all.
        places = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        first: dict[int, int] = {}
        counts: Counter[int] = Counter()
        for start in np.flatnonzero(self.hashes[places] == hashes).tolist():
            owner = int(self.owners[places[start]])
            first.setdefault(owner, start)
            counts[owner] += 1
        for owner, _ in counts.most_common(_MOST_PROBLEMS):
            yield owner, " ".join(words[first[owner] : first[owner] + GRAM_WORDS])


@lru_cache(maxsize=1 << 17)
def _word_hash(word: str) -> int:
    return int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _hashes(words: Sequence[str]) -> Hashes:
    if len(words) < GRAM_WORDS:
        return np.empty(0, dtype=np.uint64)
    values = np.fromiter(map(_word_hash, words), dtype=np.uint64, count=len(words))
    windows = np.lib.stride_tricks.sliding_window_view(values, GRAM_WORDS)
    return np.asarray((windows * _FACTORS).sum(axis=1, dtype=np.uint64))
