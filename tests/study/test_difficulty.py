"""What is counted of a row, on the smallest rows that show it; and that no text makes it fail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.study.evidence.difficulty import MEASURES, NO_CODE, OTHER, UNNAMED, measured, quantiles


@pytest.mark.parametrize(
    ("response", "language"),
    [
        ("```python\nprint(1)\n```", "python"),
        ("```py\nprint(1)\n```", "python"),
        ("```JavaScript\nlet a = 1;\n```", "javascript"),
        ("```c++\nint a;\n```", "c++"),
        ("```brainfork\n+++\n```", OTHER),
        ("```\nimport os\n```", "python"),
        ("```\nx ->> y <<-\n```", UNNAMED),
        ("def f():\n    return 1\n", "python"),
        ("Here is nothing to run.", NO_CODE),
    ],
)
def test_the_language_of_the_code(response: str, language: str) -> None:
    assert measured("", "", response).language == language


def test_a_row_is_counted() -> None:
    found = measured("It must sort, without a loop.", "1 2", "First we sort.\n```python\nprint(sorted([1]))\n```").values
    assert found["instruction_words"] == 9, "the input and its heading count"
    assert found["requirement_words"] == 2
    assert found["reasoning_words"] == 1
    assert (found["task_shows_code"], found["response_has_code"]) == (0, 1)
    # Module, Expr, Call, Name, Load, Call, Name, Load, List, Constant, Load
    assert found["syntax_nodes"] == 11
    assert found["syntax_depth"] == 6


def test_code_that_does_not_parse_has_no_size() -> None:
    assert "syntax_nodes" not in measured("", "", "```python\ndef f(:\n```").values
    assert "syntax_nodes" not in measured("", "", "```javascript\na = 1\n```").values
    assert "syntax_nodes" not in measured("", "", "Hello").values, "a word is no program"


def test_code_as_deep_as_a_model_likes_is_no_failure() -> None:
    assert measured("", "", f"```python\nx = {'-' * 5000}1\n```").language == "python"
    assert measured("", "", f"```python\nx = {'(' * 5000}\n```").language == "python"


@given(*(st.text() for _ in range(3)))
def test_no_text_makes_it_fail(instruction: str, input: str, response: str) -> None:
    found = measured(instruction, input, response)
    assert set(found.values) <= {measure.name for measure in MEASURES}
    assert all(value >= 0 for value in found.values.values())


@given(st.lists(st.integers(0, 50), min_size=1))
def test_quantiles_of_counts_are_those_of_the_values(values: list[int]) -> None:
    counts = {value: values.count(value) for value in values}
    ordered = sorted(values)
    expected = [ordered[max(0, -(-len(ordered) * share // 100) - 1)] for share in (25, 50, 75)]
    assert list(quantiles(counts, (0.25, 0.5, 0.75))) == expected
