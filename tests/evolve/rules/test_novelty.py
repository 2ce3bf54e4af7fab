"""The judge's question, and how its verdict is read."""

from __future__ import annotations

import pytest

from evolcoder.evolve.rules.novelty import judge_prompt, says_equal


@pytest.mark.parametrize("verdict", ["equal", "Equal.", "**Equal**", "They are equal.", "`equal`"])
def test_equal(verdict: str) -> None:
    assert says_equal(verdict)


@pytest.mark.parametrize(
    "verdict",
    [
        "not equal",
        "Not Equal.",
        "`not equal`",
        "They are different, not equal",
        "unequal",
        "They aren't equal",
        "",
        "I cannot say.",
    ],
)
def test_not_equal_or_no_verdict(verdict: str) -> None:
    assert not says_equal(verdict)


def test_the_question_holds_both_tasks_whatever_is_in_them() -> None:
    prompt = judge_prompt("first {second}", "second {first}")
    assert prompt.count("first {second}") == prompt.count("second {first}") == 1
    assert prompt.index("first {second}") < prompt.index("second {first}")
