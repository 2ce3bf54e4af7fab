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
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from evolcoder.explore.shards import Shards

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
SHARD_CHARACTERS = 1 << 16
_POSTINGS_IN_MEMORY = 4_000_000

_Run = Iterator[tuple[bytes, "array[int]"]]
"""Words as ``javascript_order`` has them, ascending."""


def encode(rows: Sequence[int]) -> str:
    """Ascending row numbers, none twice, as text."""
    gaps = (row - before - 1 for row, before in zip(rows, (-1, *rows), strict=False))
    return "".join(_CODES[gap] if gap < len(_CODES) else _code(gap) for gap in gaps)


def decode(text: str) -> list[int]:
    """What ``encode`` wrote; the pages have the same in JavaScript."""
    rows, row, gap, shift = [], -1, 0, 0
    for sign in text:
        digit = ALPHABET.index(sign)
        gap |= (digit & 31) << shift
        shift += 5
        if digit < 32:
            row += gap + 1
            rows.append(row)
            gap = shift = 0
    return rows


def _code(gap: int) -> str:
    signs = []
    while gap >= 32:
        signs.append(ALPHABET[(gap & 31) | 32])
        gap >>= 5
    return "".join([*signs, ALPHABET[gap]])


_CODES = [_code(gap) for gap in range(1 << 15)]


def javascript_order(word: str) -> bytes:
    """A key that sorts as JavaScript compares strings: by their UTF-16 units."""
    return word.encode("utf-16-be", "surrogatepass")


class Index:
    """Gathers words by row, in blocks that are sorted onto the disk, and merges the blocks into shards."""

    def __init__(self, postings_in_memory: int = _POSTINGS_IN_MEMORY) -> None:
        self._most = postings_in_memory
        self._held = 0
        self._block: defaultdict[str, array[int]] = defaultdict(lambda: array("Q"))
        self._runs: list[Path] = []
        self._folder = TemporaryDirectory(prefix="evolcoder-index-")

    def __enter__(self) -> Index:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._folder.cleanup()

    def add(self, row: int, words: Iterable[str]) -> None:
        """Rows come in ascending order; of one row no word comes twice."""
        for word in words:
            self._block[word].append(row)
            self._held += 1
        if self._held >= self._most:
            self._spill()

    def write(self, shards: Shards, name: str) -> list[str]:
        """Write the shards ``<name>/<number>`` and return the first word of each."""
        self._spill()
        firsts: list[str] = []
        words: list[str] = []
        lists: list[str] = []
        size = 0
        for word, rows in self._merged():
            if words and size >= SHARD_CHARACTERS:
                shards.put(f"{name}/{len(firsts)}", [words, lists])
                firsts.append(words[0])
                words, lists, size = [], [], 0
            words.append(word)
            lists.append(encode(rows))
            size += len(words[-1]) + len(lists[-1]) + 6
        if words:
            shards.put(f"{name}/{len(firsts)}", [words, lists])
            firsts.append(words[0])
        return firsts

    def _spill(self) -> None:
        path = Path(self._folder.name) / str(len(self._runs))
        with path.open("wb") as file:
            for key, word in sorted((javascript_order(word), word) for word in self._block):
                pickle.dump((key, self._block[word]), file)
        self._runs.append(path)
        self._block.clear()
        self._held = 0

    def _merged(self) -> Iterator[tuple[str, Sequence[int]]]:
        merged = heapq.merge(*map(_read_run, self._runs), key=itemgetter(0))  # equal words stay in the order of their blocks
        for key, group in groupby(merged, key=itemgetter(0)):
            rows: array[int] = array("Q")
            for _, some in group:
                rows.extend(some)
            yield key.decode("utf-16-be", "surrogatepass"), rows


def _read_run(path: Path) -> _Run:
    with path.open("rb") as file:
        while True:
            try:
                yield pickle.load(file)
            except EOFError:
                return
