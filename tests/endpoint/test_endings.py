"""Every reason to finish is a natural end, or has a name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.endpoint.replies import ending


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        ("stop", "whole"),
        ("", "whole"),
        ("end_turn", "whole"),
        ("STOP", "whole"),
        ("FinishReason.STOP", "whole"),
        ("length", "cut"),
        ("MAX_TOKENS", "cut"),
        ("model_length", "cut"),
        ("content_filter", "filtered"),
        ("SAFETY", "filtered"),
        ("sensitive", "filtered"),
        ("refusal", "filtered"),
        ("content_filter: RECITATION", "filtered"),
        ("tool_calls", "tool_calls"),
        ("Something else!", "something_else"),
    ],
)
def test_names(reason: str, name: str) -> None:
    assert ending(reason) == name


@given(st.text())
def test_any_reason_has_a_short_name(reason: str) -> None:
    name = ending(reason)
    assert 0 < len(name) <= 40
    assert name.isidentifier() or name[0].isdigit()
