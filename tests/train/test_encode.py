from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from evolcoder.errors import ModelError
from evolcoder.text.rendering import alpaca_chat_template
from evolcoder.text.templates import ALPACA_CHAT_TEMPLATE, alpaca_prompt
from evolcoder.train.encode import ENCODED_SCHEMA, encode, row_of, to_batch

LONG = 10_000


def test_a_row_is_prompt_response_and_eos(tiny_tokenizer: Any) -> None:
    encoded = encode([("Say hi.", "", "hi")], tiny_tokenizer, LONG)
    (row,) = encoded.rows
    assert tiny_tokenizer.decode(row.tokens) == alpaca_prompt("Say hi.") + "hi<|im_end|>"
    assert tiny_tokenizer.decode(row.tokens[: row.prompt_tokens]) == alpaca_prompt("Say hi.")
    assert row.tokens[-1] == tiny_tokenizer.eos_token_id


def test_an_input_takes_the_prompt_with_an_input(tiny_tokenizer: Any) -> None:
    (row,) = encode([("Sort.", "3 1 2", "1 2 3")], tiny_tokenizer, LONG).rows
    assert tiny_tokenizer.decode(row.tokens[: row.prompt_tokens]) == alpaca_prompt("Sort.", "3 1 2")


def test_training_shows_what_the_chat_template_renders(tiny_tokenizer: Any) -> None:
    messages = [{"role": "user", "content": "Say hi."}, {"role": "assistant", "content": "hi"}]
    rendered = tiny_tokenizer.apply_chat_template(messages, chat_template=alpaca_chat_template(tiny_tokenizer), tokenize=False)
    (row,) = encode([("Say hi.", "", "hi")], tiny_tokenizer, LONG).rows
    assert tiny_tokenizer.decode(row.tokens) == rendered


def test_a_long_row_is_cut_on_the_right_and_has_no_eos(tiny_tokenizer: Any) -> None:
    whole = encode([("Say hi.", "", "hello")], tiny_tokenizer, LONG).rows[0]
    cut = encode([("Say hi.", "", "hello")], tiny_tokenizer, len(whole.tokens) - 1)
    assert cut.rows[0].tokens == whole.tokens[:-1]
    assert tiny_tokenizer.eos_token_id not in cut.rows[0].tokens
    assert (cut.overlong, cut.dropped) == ([0], 0)


def test_a_row_that_just_fits_is_not_counted_as_cut(tiny_tokenizer: Any) -> None:
    whole = encode([("Say hi.", "", "hello")], tiny_tokenizer, LONG).rows[0]
    fits = encode([("Say hi.", "", "hello")], tiny_tokenizer, len(whole.tokens))
    assert (fits.rows[0], fits.overlong) == (whole, [])


def test_a_row_without_room_for_a_response_is_dropped_and_counted(tiny_tokenizer: Any) -> None:
    rows = [("Say hi.", "", "hello"), ("long " * 100, "", "x")]
    length = len(tiny_tokenizer(alpaca_prompt(rows[0][0]))["input_ids"]) + 1
    encoded = encode(rows, tiny_tokenizer, length)
    assert (len(encoded.rows), encoded.overlong, encoded.dropped) == (1, [0], 1)
    assert len(encoded.rows[0].tokens) == encoded.rows[0].prompt_tokens + 1


def test_an_eos_written_out_in_a_response_stays_text(tiny_tokenizer: Any) -> None:
    (row,) = encode([("Which token ends?", "", "It is <|im_end|>, so")], tiny_tokenizer, LONG).rows
    assert row.tokens.count(tiny_tokenizer.eos_token_id) == 1


def test_a_tokenizer_without_eos_is_refused(tiny_tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="EOS"):
        encode([("a", "", "b")], SimpleNamespace(eos_token_id=None), LONG)  # type: ignore[arg-type]


class _Words:
    """A tokenizer of the sentencepiece kind: it puts BOS first, and merges across the border of prompt and response."""

    bos_token_id = 1
    eos_token_id = 2
    BORDER = 3

    def __call__(self, texts: list[str], add_special_tokens: bool = True, split_special_tokens: bool = False) -> dict[str, Any]:
        start = [self.bos_token_id] if add_special_tokens else []
        return {"input_ids": [start + self._ids(text) for text in texts]}

    def _ids(self, text: str) -> list[int]:
        if ":```" in text:
            before, _, after = text.partition(":```")
            return [*self._ids(before), self.BORDER, *self._ids(after)]
        return [ord(character) + 10 for character in text]


def test_bos_comes_first_where_the_tokenizer_puts_it_and_in_the_chat_template_too(tiny_tokenizer: Any) -> None:
    words = _Words()
    (row,) = encode([("a", "", "b")], words, LONG).rows
    assert row.tokens[0] == words.bos_token_id
    assert row.prompt_tokens == 1 + len(alpaca_prompt("a"))
    assert alpaca_chat_template(words) == "{{- bos_token -}}" + ALPACA_CHAT_TEMPLATE
    assert alpaca_chat_template(tiny_tokenizer) == ALPACA_CHAT_TEMPLATE


def test_no_token_reaches_over_the_end_of_the_prompt() -> None:
    words = _Words()
    (row,) = encode([("a", "", "```python")], words, LONG).rows
    prompt = words([alpaca_prompt("a")], add_special_tokens=False)["input_ids"][0]
    assert row.tokens[1 : row.prompt_tokens] == prompt
    assert words.BORDER not in row.tokens


def test_encoded_rows_survive_arrow(tiny_tokenizer: Any) -> None:
    rows = encode([("a", "", "b"), ("c", "d", "e")], tiny_tokenizer, LONG, ids=["x", "y"]).rows
    assert [row.id for row in rows] == ["x", "y"]
    batch = to_batch(rows)
    assert batch.schema == ENCODED_SCHEMA
    assert batch.to_pylist() == [{"tokens": row.tokens, "prompt_tokens": row.prompt_tokens, "id": row.id} for row in rows]
    assert [row_of(pa.Table.from_batches([batch]), n) for n in range(2)] == rows


def test_no_rows_give_no_rows(tiny_tokenizer: Any) -> None:
    assert encode([], tiny_tokenizer, LONG).rows == []


def test_a_token_that_the_model_cannot_read_is_refused_before_training(tiny_tokenizer: Any) -> None:
    size = len(tiny_tokenizer)
    assert encode([("a", "", "b")], tiny_tokenizer, LONG, size).rows
    with pytest.raises(ModelError, match=r"makes the token \d+, but its embedding has the tokens 0 to 99 alone"):
        encode([("a", "", "b")], tiny_tokenizer, LONG, 100)
    assert encode([("a", "", "b")], tiny_tokenizer, LONG, size - 1).rows
    with pytest.raises(
        ModelError, match=rf"makes the token {size - 1}, but its embedding has the tokens 0 to {size - 2} alone"
    ):
        encode([("a", "", "\u00ad")], tiny_tokenizer, LONG, size - 1)
