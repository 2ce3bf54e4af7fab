"""The inverted index, against a dictionary."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st
from tests.explore.made import decode

from evolcoder.explore.postings import SHARD_CHARACTERS, Index, encode, javascript_order
from evolcoder.explore.shards import Shards
from evolcoder.storage.folders import Folder


@given(st.sets(st.integers(0, 2**40)))
def test_rows_come_back_from_their_text(rows: set[int]) -> None:
    assert decode(encode(sorted(rows))) == sorted(rows)


def test_neighbours_take_one_character_each() -> None:
    assert encode(range(1000)) == "A" * 1000


@given(
    st.lists(st.sets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3)), max_size=12), st.integers(1, 9)
)
def test_every_word_is_found_in_its_shard_with_all_its_rows(rows: list[set[str]], in_memory: int) -> None:
    held: dict[str, list[str | list[int]]] = {}

    class Kept(Shards):
        def put(self, name: str, value: list[list[str]]) -> None:
            held[name] = value  # type: ignore[assignment]

    with TemporaryDirectory() as place:
        index = Index("some", Path(place), in_memory)
        for number, words in enumerate(rows):
            index.add(number, words)
        firsts = index.write(Kept(Folder.open("unused")))
    found = {word: decode(text) for words, lists in held.values() for word, text in zip(words, lists, strict=True)}
    expected = {word: [n for n, words in enumerate(rows) if word in words] for word in set().union(*rows)}
    assert found == expected
    assert list(found) == sorted(expected, key=javascript_order)
    assert firsts == [words[0] for words, _ in held.values()]


def test_a_shard_ends_when_it_is_large_enough(tmp_path: Path) -> None:
    shards = Shards(Folder.open(tmp_path))
    index = Index("some", tmp_path)
    for row in range(30):
        index.add(row, {f"{row:03d}{'x' * (SHARD_CHARACTERS // 10)}"})
    firsts = index.write(shards)
    assert len(firsts) == len(shards.files) == 3
    assert all(entry.bytes < 1.2 * SHARD_CHARACTERS for entry in shards.files)


def test_javascript_sorts_by_utf_16() -> None:
    words = ["z", "\uff5e", "\U0001f600", "a"]
    assert sorted(words, key=javascript_order) == ["a", "z", "\U0001f600", "\uff5e"]
    assert json.dumps(words)  # plain data
