"""Text as it grows: stop strings and characters across token boundaries."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from evolcoder.serve.engines.text import StopScanner, TokenDecoder, TokenNames

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
    shown += scanner.feed("", final=True)
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
    assert "".join(pieces) + decoder.feed(None) == text


@given(st.text(max_size=8), st.integers(0, 24), st.binary(max_size=6))
def test_a_prompt_may_end_within_a_character(text: str, place: int, more: bytes) -> None:
    prompt, answer = text.encode()[:place], text.encode()[place:] + more
    decoder = TokenDecoder(lambda tokens: bytes(tokens).decode("utf-8", "replace"), list(prompt))
    pieces = [decoder.feed(token) for token in answer]
    assert "".join(pieces) + decoder.feed(None) == answer.decode("utf-8", "replace")


def test_a_character_comes_whole() -> None:
    decoder = TokenDecoder(lambda tokens: bytes(tokens).decode("utf-8", "replace"), [])
    assert [decoder.feed(token) for token in "é".encode()] == ["", "é"]


def test_a_character_that_is_never_finished_is_shown_broken() -> None:
    decoder = TokenDecoder(lambda tokens: bytes(tokens).decode("utf-8", "replace"), [])
    assert decoder.feed("é".encode()[0]) == ""
    assert decoder.feed(None) == "\ufffd"


def test_the_first_token_keeps_the_space_that_some_tokenizers_drop() -> None:
    words = {1: "def", 2: "▁f", 3: "▁g"}

    def decode(tokens: list[int]) -> str:
        return "".join(words[token] for token in tokens).replace("▁", " ").removeprefix(" ")

    assert TokenDecoder(decode, [1, 2]).feed(3) == " g"


def byte_level(*tokens: str) -> Any:
    """A tokenizer of such tokens, written in GPT-2's alphabet, and a special and an added one."""
    core = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(["<|end|>"])
    core.add_tokens([AddedToken("\u00e9t", special=False, normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>")


def test_a_byte_level_token_has_its_own_bytes() -> None:
    names = TokenNames(byte_level("a", "\u0120def", "\u00f0\u0141\u013a", "\u0122", "\u010a\u010a"))
    assert [(names[n].name, names[n].data) for n in range(7)] == [
        ("a", b"a"),
        (" def", b" def"),
        (r"bytes:\xf0\x9f\x98", b"\xf0\x9f\x98"),
        (r"bytes:\x80", b"\x80"),
        ("\n\n", b"\n\n"),
        ("<|end|>", b""),
        ("\u00e9t", "\u00e9t".encode()),
    ]


def test_a_sentencepiece_token_has_its_own_bytes() -> None:
    vocabulary = ["<unk>", "<s>", "\u2581def", "x", "<0xF0>", "<0x0A>", "\u2581\u2581"]
    core = Tokenizer(models.BPE(vocab={token: n for n, token in enumerate(vocabulary)}, merges=[], byte_fallback=True))
    core.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    core.add_special_tokens(["<unk>", "<s>"])
    names = TokenNames(PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", bos_token="<s>"))
    found = [(names[n].name, names[n].data) for n in range(1, 7)]
    assert found == [("<s>", b""), (" def", b" def"), ("x", b"x"), (r"bytes:\xf0", b"\xf0"), ("\n", b"\n"), ("  ", b"  ")]
