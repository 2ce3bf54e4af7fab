"""Text as it grows: stop strings and characters across token boundaries."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from evolcoder.serve.engines.text import StopScanner, TokenDecoder

LETTERS = st.text(alphabet="ab\n", max_size=30)
STOPS = st.lists(st.text(alphabet="ab\n", min_size=1, max_size=4), max_size=3)


def cut(text: str, stops: list[str]) -> str:
    """The rule itself, on the whole text: the stop that ends first counts, of several the longest."""
    ends = [(text.index(stop) + len(stop), text.index(stop)) for stop in stops if stop in text]
    return text[: min(ends)[1]] if ends else text


@given(LETTERS, STOPS, st.lists(st.integers(0, 30), max_size=8))
def test_stops_do_not_depend_on_how_the_text_is_cut(text: str, stops: list[str], cuts: list[int]) -> None:
    scanner = StopScanner(stops)
    edges = [0, *sorted(min(edge, len(text)) for edge in cuts), len(text)]
    shown = "".join(scanner.feed(text[a:b]) for a, b in pairwise(edges))
    shown += scanner.flush()
    assert shown == cut(text, stops)
    assert scanner.stopped == any(stop in text for stop in stops)


def test_text_that_cannot_become_a_stop_is_shown_at_once() -> None:
    scanner = StopScanner(["\n\n"])
    assert scanner.feed("x = 1") == "x = 1"
    assert scanner.feed("\n") == ""
    assert scanner.feed("y") == "\ny"


@given(st.text(max_size=20), st.text(max_size=5))
def test_decoded_pieces_add_up_to_the_text(text: str, before: str) -> None:
    decoder = TokenDecoder(lambda tokens: bytes(tokens).decode("utf-8", "replace"), list(before.encode()))
    pieces = [decoder.feed(token) for token in text.encode()]
    assert "".join(pieces) + decoder.flush() == text


def test_a_character_comes_whole() -> None:
    decoder = TokenDecoder(lambda tokens: bytes(tokens).decode("utf-8", "replace"), [])
    assert [decoder.feed(token) for token in "é".encode()] == ["", "é"]


def test_a_character_that_is_never_finished_is_shown_broken() -> None:
    decoder = TokenDecoder(lambda tokens: bytes(tokens).decode("utf-8", "replace"), [])
    assert decoder.feed("é".encode()[0]) == ""
    assert decoder.flush() == "\ufffd"


def test_the_first_token_keeps_the_space_that_some_tokenizers_drop() -> None:
    words = {1: "def", 2: "▁f", 3: "▁g"}

    def decode(tokens: list[int]) -> str:
        return "".join(words[token] for token in tokens).replace("▁", " ").removeprefix(" ")

    assert TokenDecoder(decode, [1, 2]).feed(3) == " g"
