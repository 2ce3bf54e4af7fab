"""Words and languages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.explore.words import LONGEST_WORD, UNKNOWN_LANGUAGE, language_of, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Sort the LIST, sort!", {"sort", "the", "list"}),
        ("has_close_elements(x1)", {"has", "close", "elements", "x1"}),
        ("\u4e8c\u5206\u63a2\u7d22 search", {"\u4e8c", "\u5206", "\u63a2", "\u7d22", "search"}),
        ("\uff26\uff4f\uff4f caf\u00e9 cafe\u0301", {"foo", "caf\u00e9"}),
        ("a" * 5000, {"a" * LONGEST_WORD}),
        ("<b> & = \u2028", {"b"}),
        ("", set()),
    ],
)
def test_words_are_runs_of_letters_and_digits(text: str, words: set[str]) -> None:
    assert words_of(text) == words


@given(st.text())
def test_no_word_could_be_taken_for_a_key_of_the_index(text: str) -> None:
    assert all(word and "=" not in word and len(word) <= LONGEST_WORD for word in words_of(text))


@pytest.mark.parametrize(
    ("task", "response", "language"),
    [
        ("Reverse a list.", "```python\npass\n```", "Python"),
        ("In Python, please.", "```js\nx\n```", "JavaScript"),
        ("```cpp\nint x;\n```", "Like so.", "C++"),
        ("Write it in C#.", "x", "C#"),
        ("A query in MySQL", "SELECT 1", "SQL"),
        ("Go to the next line in each row.", "x", UNKNOWN_LANGUAGE),  # a verb more often than a language
        ("Use JavaScript", "```text\nx\n```", "JavaScript"),
        ("typescripts", "```\nx\n```", UNKNOWN_LANGUAGE),
    ],
)
def test_a_language_is_what_a_fence_or_the_task_names(task: str, response: str, language: str) -> None:
    assert language_of(task, response) == language
