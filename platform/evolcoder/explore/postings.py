"""An inverted index: for each word the rows that hold it, in shards that a page loads one at a time. Bounded memory.

Words are sorted as JavaScript sorts strings, so that a page finds the shard of a word, or those of all words with one
beginning, in a short list of first words. A list of rows is the gaps between their numbers in characters of six bits: five
of the gap, lowest first, and one that says whether more follow.
"""

from __future__ import annotations

import heapq
import pickle
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from evolcoder.explore.shards import Shards

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
SHARD_CHARACTERS = 1 << 16
_POSTINGS_IN_MEMORY = 4_000_000


def encode(rows: Sequence[int]) -> str:
    """Ascending row numbers, none twice, as text; ``pages/search.js`` reads it."""
    return "".join([_code(row - before - 1) for row, before in zip(rows, (-1, *rows), strict=False)])


@lru_cache(1 << 15)
def _code(gap: int) -> str:
    signs = []
    while gap >= 32:
        signs.append(ALPHABET[(gap & 31) | 32])
        gap >>= 5
    return "".join([*signs, ALPHABET[gap]])


def javascript_order(word: str) -> bytes:
    """A key that sorts as JavaScript compares strings: by their UTF-16 units."""
    return word.encode("utf-16-be", "surrogatepass")


class Index:
    """Gathers words by row, in blocks that are sorted onto the disk, and merges the blocks into shards.

    Args:
        name: the shards are ``<name>/<number>``.
        folder: for the blocks, which stay there.
    """

    def __init__(self, name: str, folder: Path, postings_in_memory: int = _POSTINGS_IN_MEMORY) -> None:
        self._name, self._folder, self._most = name, folder, postings_in_memory
        self._held = 0
        self._block: defaultdict[str, array[int]] = defaultdict(lambda: array("Q"))
        self._blocks: list[Path] = []

    def add(self, row: int, words: Iterable[str]) -> None:
        """Rows come in ascending order; of one row no word comes twice."""
        for word in words:
            self._block[word].append(row)
            self._held += 1
        if self._held >= self._most:
            self._spill()

    def write(self, shards: Shards) -> list[str]:
        """Write the shards and return the first word of each."""
        self._spill()
        firsts: list[str] = []
        for words, lists in self._cut():
            shards.put(f"{self._name}/{len(firsts)}", [words, lists])
            firsts.append(words[0])
        return firsts

    def _spill(self) -> None:
        path = self._folder / f"{self._name}-{len(self._blocks)}"
        with path.open("wb") as file:
            for key, word in sorted((javascript_order(word), word) for word in self._block):
                pickle.dump((key, self._block[word]), file)
        self._blocks.append(path)
        self._block.clear()
        self._held = 0

    def _cut(self) -> Iterator[tuple[list[str], list[str]]]:
        """Words and their lists, as many as go into a shard."""
        words: list[str] = []
        lists: list[str] = []
        size = 0
        merged = heapq.merge(*map(_read, self._blocks), key=itemgetter(0))  # equal words stay in the order of their blocks
        for key, group in groupby(merged, key=itemgetter(0)):
            if size >= SHARD_CHARACTERS:
                yield words, lists
                words, lists, size = [], [], 0
            rows: array[int] = array("Q")
            for _, some in group:
                rows.extend(some)
            words.append(key.decode("utf-16-be", "surrogatepass"))
            lists.append(encode(rows))
            size += len(words[-1]) + len(lists[-1]) + 6
        if words:
            yield words, lists


def _read(block: Path) -> Iterator[tuple[bytes, array[int]]]:
    """Its words, as ``javascript_order`` has them, ascending."""
    with block.open("rb") as file:
        while True:
            try:
                yield pickle.load(file)
            except EOFError:
                return
