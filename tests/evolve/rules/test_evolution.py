"""One row of one round, with a teacher that is a function."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter

import pytest
from tests.evolve.rows import seed

from evolcoder.endpoint.requests import RequestFailed, SamplingSettings, TeacherReply
from evolcoder.errors import BudgetError
from evolcoder.evolve.rules.evolution import Asked, RoundPlan, evolve_row, failed_row
from evolcoder.evolve.rules.operators import child_id
from evolcoder.records import Instruction
from evolcoder.settings.evolve import EvolveSettings, TeacherSettings

JUDGED = EvolveSettings(max_instruction_words=100, judge=True)
PLAN = RoundPlan(1, EvolveSettings(max_instruction_words=100), TeacherSettings(max_tokens=50), "teacher")
PARENT = seed("Add two numbers.", input="1 2")


def evolve(
    *answers: TeacherReply | Exception, parent: Instruction = PARENT, plan: RoundPlan = PLAN
) -> tuple[Instruction, list[tuple[str, SamplingSettings]]]:
    asked: list[tuple[str, SamplingSettings]] = []

    async def ask(prompt: str, sampling: SamplingSettings) -> Asked:
        asked.append((prompt, sampling))
        answer = answers[len(asked) - 1]
        if isinstance(answer, Exception):
            raise answer
        return Asked(answer, f"key{len(asked)}")

    return asyncio.run(evolve_row(parent, plan, ask)), asked


def test_a_kept_row_says_where_it_comes_from_and_what_it_cost() -> None:
    row, asked = evolve(
        TeacherReply("New task: Add three numbers.", "stop", 10, 5), TeacherReply("\n a + b + c\n", "stop", 20, 7)
    )
    assert (row.instruction, row.input, row.response) == ("Add three numbers.", "", " a + b + c")
    assert (row.status, row.reason) == ("kept", None)
    assert (row.round, row.parent_id, row.root_id) == (1, PARENT.id, PARENT.root_id)
    assert row.id == child_id(PARENT, row.operator, 1)
    assert (row.prompt_tokens, row.completion_tokens, row.request_keys) == (30, 12, ["key1", "key2"])
    assert "1 2" in asked[0][0], "a seed's input is shown to the teacher"
    assert asked[1][0] == "Add three numbers."
    assert asked[0][1].seed != asked[1][1].seed


def test_no_second_call_for_an_instruction_that_fell() -> None:
    row, asked = evolve(TeacherReply("", "stop", 10, 0))
    assert (row.status, row.reason, len(asked)) == ("eliminated", "empty_instruction", 1)
    assert row.request_keys == ["key1"]


def test_a_bad_response_eliminates_the_row_and_keeps_both_texts() -> None:
    row, _ = evolve(TeacherReply("Add three.", "stop", 1, 1), TeacherReply("Sorry.", "stop", 1, 1))
    assert (row.status, row.reason, row.instruction, row.response) == ("eliminated", "apology", "Add three.", "Sorry.")


def test_a_fault_fails_the_row_with_its_reason_and_what_was_paid() -> None:
    row, _ = evolve(TeacherReply("Add three.", "stop", 10, 5), RequestFailed("timeout", "no whole reply in time"))
    assert (row.status, row.reason) == ("failed", "timeout: no whole reply in time")
    assert row.prompt_tokens == 10
    assert dataclasses.replace(failed_row(PARENT, PLAN, "x"), reason=None).id == row.id


def test_a_fault_of_the_run_is_not_the_rows() -> None:
    with pytest.raises(BudgetError):
        evolve(BudgetError("No money."))


def test_equal_prompts_of_two_rows_are_two_requests() -> None:
    twin = dataclasses.replace(PARENT, id="other", root_id="other")
    answer = TeacherReply("Add three.", "stop", 1, 1)
    seeds = {evolve(answer, answer, parent=parent)[1][1][1].seed for parent in (PARENT, twin)}
    assert len(seeds) == 2


def test_the_judge_is_asked_between_and_ends_a_row_that_says_nothing_new() -> None:
    judged = dataclasses.replace(PLAN, evolve=JUDGED)
    task, response = TeacherReply("Add three numbers.", "stop", 10, 5), TeacherReply("a + b + c", "stop", 20, 7)
    row, asked = evolve(task, TeacherReply("Not equal.", "stop", 30, 2), response, plan=judged)
    assert (row.status, row.request_keys, row.prompt_tokens) == ("kept", ["key1", "key2", "key3"], 60)
    assert "Add two numbers.\n\nInput:\n1 2" in asked[1][0]
    assert "Add three numbers." in asked[1][0]
    assert asked[1][1].temperature == 0
    assert len({sampling.seed for _, sampling in asked}) == 3
    row, asked = evolve(task, TeacherReply("Equal", "stop", 30, 1), plan=judged)
    assert (row.status, row.reason, len(asked)) == ("eliminated", "no_information_gain", 2)


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ((TeacherReply("", "length", 1, 1),), "truncated_instruction"),
        ((TeacherReply("<think>Let me", "max_tokens", 1, 1),), "truncated_instruction"),
        ((TeacherReply("Add", "content_filter", 1, 1),), "filtered_instruction"),
        ((TeacherReply("Add three.", "tool_calls", 1, 1),), "ended_by_tool_calls"),
        ((TeacherReply("Add three.", "stop", 1, 1), TeacherReply("", "length", 1, 1)), "truncated_response"),
        ((TeacherReply("Add three.", "stop", 1, 1), TeacherReply("a + b", "SAFETY", 1, 1)), "filtered_response"),
        ((RequestFailed("refused", "400 content_filter", retryable=False),), "refused"),
        ((TeacherReply("Add three.", "stop", 1, 1), RequestFailed("too_long", "400 x", retryable=False)), "too_long"),
    ],
)
def test_what_no_other_try_mends_eliminates_the_row_by_its_name(
    replies: tuple[TeacherReply | Exception, ...], reason: str
) -> None:
    row, asked = evolve(*replies)
    assert (row.status, row.reason, len(asked)) == ("eliminated", reason, len(replies))


def test_thinking_is_left_out_of_all_replies_and_counted() -> None:
    counts: Counter[str] = Counter()
    replies = iter(
        [
            TeacherReply("<think>Hm.</think>\n\nAdd three.", "stop", 1, 9),
            TeacherReply("It is not equal, I think.\n</think>\n\nNot Equal", "stop", 1, 9),
            TeacherReply("<plan>So.</plan>\na + b + c", "stop", 1, 9, replaced_characters=2),
        ]
    )

    async def ask(prompt: str, sampling: SamplingSettings) -> Asked:
        return Asked(next(replies), "key")

    plan = dataclasses.replace(PLAN, evolve=JUDGED, teacher=TeacherSettings(thinking_marks=(("<plan>", "</plan>"),)))
    row = asyncio.run(evolve_row(PARENT, plan, ask, counts))
    assert (row.status, row.instruction, row.response) == ("kept", "Add three.", "a + b + c")
    assert row.completion_tokens == 27
    assert counts["replies_with_thinking"] == 3
    assert counts["thinking_characters"] > 40
    assert counts["replaced_characters"] == 2


def test_what_is_null_is_not_asked_for_and_more_fields_are() -> None:
    teacher = TeacherSettings(temperature=None, top_p=None, extra_body={"reasoning_effort": "low"})
    plan = dataclasses.replace(PLAN, evolve=JUDGED, teacher=teacher)
    _, asked = evolve(
        TeacherReply("Add three.", "stop", 1, 1), TeacherReply("no", "stop", 1, 1), TeacherReply("a", "stop", 1, 1), plan=plan
    )
    assert {(sampling.temperature, sampling.top_p, sampling.extra_body["reasoning_effort"]) for _, sampling in asked} == {
        (None, None, "low")
    }
