"""Whatever Python reads from JSON becomes text that UTF-8 can hold, and what was replaced is counted."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from evolcoder.text.encodable import encodable_json, encodable_text

_any_text = st.text(st.characters(categories=["L", "N", "P", "Zs", "Cs", "So"]), max_size=20)


@given(_any_text)
def test_any_text_becomes_encodable_and_good_text_stays(text: str) -> None:
    mended, replaced = encodable_text(text)
    assert mended.encode("utf-8").decode("utf-8") == mended
    assert encodable_text(mended) == (mended, 0)
    surrogates = sum("\ud800" <= character <= "\udfff" for character in text)
    assert replaced <= surrogates
    if not surrogates:
        assert (mended, replaced) == (text, 0)


def test_halves_alone_are_replaced_and_halves_together_joined() -> None:
    assert encodable_text("a \ud83d b \ude00") == ("a \ufffd b \ufffd", 2)
    assert encodable_text("\ud83d" + "\ude00") == ("\N{GRINNING FACE}", 0)
    assert encodable_text("\ufffd\ud83d") == ("\ufffd\ufffd", 1)
    assert encodable_text("\ud83d\N{GRINNING FACE}") == ("\ufffd\N{GRINNING FACE}", 1)


def test_decoded_json_is_mended_throughout() -> None:
    data = json.loads('{"a \\ud83d": ["\\udc00", {"b": "ok"}, 3, null]}')
    assert encodable_json(data) == ({"a \ufffd": ["\ufffd", {"b": "ok"}, 3, None]}, 2)
