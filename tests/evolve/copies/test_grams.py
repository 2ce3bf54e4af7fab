"""Runs of 13 telling words."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.evolve.copies.canonical import words
from evolcoder.evolve.copies.grams import GRAM_WORDS, SHARED_BY_PROBLEMS, Grams, is_telling

TEXT = [f"word{number}" for number in range(20)]


def test_thirteen_words_are_found_anywhere_and_twelve_are_not() -> None:
    index = Grams.of([(7, TEXT)])
    assert list(index.find(["before", *TEXT[3:16], "after"])) == [(7, " ".join(TEXT[3:16]))]
    assert list(index.find(["before", *TEXT[3:15], "after"])) == []
    assert list(index.find(TEXT[:5])) == []


def test_mere_idiom_is_left_out() -> None:
    idiom = words("for i in range(1, n - 1): for j in range(1, n)")
    assert len(idiom) == GRAM_WORDS
    assert not list(Grams.of([(0, idiom)]).find(idiom))


@pytest.mark.parametrize("word", ["for", "range", "i", "7", "7a", "np"])
def test_words_that_say_nothing(word: str) -> None:
    assert not is_telling(word)


@pytest.mark.parametrize(("problems", "found"), [(SHARED_BY_PROBLEMS, True), (SHARED_BY_PROBLEMS + 1, False)])
def test_what_many_problems_share_says_nothing_of_any(problems: int, found: bool) -> None:
    index = Grams.of((problem, TEXT) for problem in range(problems))
    assert bool(list(index.find(TEXT))) is found


def test_problems_that_share_most_come_first() -> None:
    other = [*TEXT[1:14], *words("one more and yet others that make it longer")]
    index = Grams.of([(0, TEXT[:14]), (1, other)])
    assert [owner for owner, _ in index.find([*TEXT[:14], "filler", *other])] == [1, 0]


def test_an_index_of_nothing_finds_nothing() -> None:
    assert list(Grams.of([]).find(TEXT)) == []


@given(st.lists(st.text(alphabet="abcdefgh", min_size=4, max_size=8), min_size=13, max_size=30), st.data())
def test_every_run_of_an_indexed_text_is_found_after_a_journey(text: list[str], data: st.DataObject) -> None:
    index = pickle.loads(pickle.dumps(Grams.of([(3, text)])))
    start = data.draw(st.integers(0, len(text) - GRAM_WORDS))
    run = text[start : start + GRAM_WORDS]
    assert [owner for owner, _ in index.find(run)] == ([3] if sum(map(is_telling, run)) >= 4 else [])
