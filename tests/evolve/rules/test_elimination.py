"""Each rule by the smallest input that trips it, and the cleaning before them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.evolve.rules.elimination import (
    clean_instruction,
    eliminate_instruction,
    eliminate_response,
    judge_prompt,
    says_equal,
    without_outer_blank_lines,
)


@pytest.mark.parametrize(
    ("instruction", "finish_reason", "reason"),
    [
        ("Sort a list.", "stop", None),
        ("", "stop", "empty_instruction"),
        ("```", "stop", "empty_instruction"),
        ("Sort a list and", "length", "truncated_instruction"),
        ("Original task: sort.", "stop", "copied_prompt"),
        ("Do as the given prompt says.", "stop", "copied_prompt"),
        ("add  two NUMBERS", "stop", "unchanged"),
        ("one two three four five six", "stop", "overlong"),
        ("one two three four five", "stop", None),
    ],
)
def test_an_instruction_falls_to_its_rule(instruction: str, finish_reason: str, reason: str | None) -> None:
    assert eliminate_instruction(instruction, "Add two numbers.", finish_reason, max_words=5) == reason


@pytest.mark.parametrize(
    ("response", "finish_reason", "reason"),
    [
        ("x = 1", "stop", None),
        ("", "stop", "empty_response"),
        ("x =", "length", "truncated_response"),
        ("Sorry, no.", "stop", "apology"),
        ("sorry " * 79, "stop", "apology"),
        ("sorry " + "word " * 79, "stop", None),
        ("...", "stop", "only_stop_words"),
        ("It is, and it was!", "stop", "only_stop_words"),
        ("It is 4", "stop", None),
    ],
)
def test_a_response_falls_to_its_rule(response: str, finish_reason: str, reason: str | None) -> None:
    assert eliminate_response(response, finish_reason) == reason


@pytest.mark.parametrize(
    "reply",
    [
        "Sort a list.",
        "  Sort a list.\n",
        "#Rewritten Prompt#: Sort a list.",
        "**Rewritten task:** Sort a list.",
        "## The new programming task:\n\nSort a list.",
        '"Sort a list."',
        "Rewritten Task: \u201cSort a list.\u201d",
        "Here is the rewritten task:\n\nSort a list.",
        "Sure! Here's a slightly harder version: Sort a list.",
        "Here is the new task:\nNew task: 'Sort a list.'",
    ],
)
def test_cleaning_leaves_the_task_alone(reply: str) -> None:
    assert clean_instruction(reply) == "Sort a list."


@pytest.mark.parametrize(
    "task",
    [
        'Write "a" and then "b"',
        "New tasks are queued: sort them.",
        "`x` and `y`",
        "Here be dragons. Sort them.",
        "def f():\n    return 'x'",
    ],
)
def test_cleaning_takes_nothing_from_a_task(task: str) -> None:
    assert clean_instruction(task) == task


@given(st.text() | st.from_regex(r"(#?Rewritten (Prompt|Task)#?: |\"|'|Here is x: ){0,4}\w*[\"']?", fullmatch=True))
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    cleaned = clean_instruction(text)
    assert clean_instruction(cleaned) == cleaned
    assert cleaned in text


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        ("    if x < lo:\n        return lo\n", "    if x < lo:\n        return lo"),
        ("\n \t\n\tx = 1  \n\n", "\tx = 1  "),
        ("a = 'e\u0301'\nassert a != '\u00e9'", "a = 'e\u0301'\nassert a != '\u00e9'"),
        ("t = 'a  \n b'\n", "t = 'a  \n b'"),
        ("\r\na\r\n\r\nb\r\n", "a\r\n\r\nb"),
        ("a\r", "a\r"),
        ("\f\n x", " x"),
        (" \n\t\r\n ", ""),
        ("", ""),
    ],
)
def test_a_response_is_kept_but_for_the_blank_lines_around_it(reply: str, kept: str) -> None:
    assert without_outer_blank_lines(reply) == kept


@given(st.text(st.characters(codec="utf-8")), st.sampled_from(["", "\n", " \n\n", "\r\n"]))
def test_blank_lines_are_all_that_goes(text: str, around: str) -> None:
    kept = without_outer_blank_lines(around + text + around)
    assert kept in around + text + around
    assert without_outer_blank_lines(kept) == kept
    assert kept.split() == text.split()


@given(st.text(), st.text(), st.sampled_from(["stop", "length", ""]))
def test_rules_take_any_text(parent: str, text: str, finish_reason: str) -> None:
    assert isinstance(eliminate_instruction(text, parent, finish_reason, 10), str | None)
    assert isinstance(eliminate_response(text, finish_reason), str | None)


@pytest.mark.parametrize("verdict", ["equal", "Equal.", "**Equal**", "They are equal.", "`equal`"])
def test_a_verdict_of_equal(verdict: str) -> None:
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
def test_a_verdict_of_not_equal_or_none(verdict: str) -> None:
    assert not says_equal(verdict)


def test_the_question_holds_both_tasks_whatever_is_in_them() -> None:
    prompt = judge_prompt("first {second}", "second {first}")
    assert prompt.count("first {second}") == prompt.count("second {first}") == 1
    assert prompt.index("first {second}") < prompt.index("second {first}")
