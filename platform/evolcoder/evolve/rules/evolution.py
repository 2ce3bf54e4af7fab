"""One row of one round: the evolved instruction, then its response, and what becomes of it. Knows neither Ray nor HTTP."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from evolcoder.endpoint.requests import FOR_EVER, RequestFailed, SamplingSettings, TeacherReply
from evolcoder.evolve.rules.elimination import (
    clean_instruction,
    eliminate_instruction,
    eliminate_response,
    judge_prompt,
    says_equal,
    without_outer_blank_lines,
)
from evolcoder.evolve.rules.operators import Operator, child_id, choose_operator, operators_of, request_seed, task_text
from evolcoder.records import Instruction
from evolcoder.settings.evolve import EvolveSettings, TeacherSettings
from evolcoder.text.thinking import drop_thinking, marks_with

FORMAT = 3
"""Raised whenever cleaning or a rule changes what a reply becomes, so that finished rounds are made anew."""
FORMAT_BEFORE = 2
"""It took thinking for part of an answer, and the spaces around a response away."""
NO_INFORMATION_GAIN = "no_information_gain"
"""The reason of a row that the judge calls equal to its parent."""

CHANGES = ("replies_with_thinking", "thinking_characters", "replaced_characters")
"""What is counted of replies on the way to their rows: thinking that was dropped, and what could not be encoded."""


@dataclass(frozen=True)
class RoundPlan:
    """What decides the outcome of a round, apart from its pool and the teacher's replies.

    ``model`` is what the endpoint calls the teacher, which the settings may call ``embedded``.
    """

    round: int
    evolve: EvolveSettings
    teacher: TeacherSettings
    model: str

    @cached_property
    def operators(self) -> tuple[Operator, ...]:
        return operators_of(self.evolve.operators)

    def sampling(self, row_id: str, purpose: str) -> SamplingSettings:
        asked, seed = self.teacher, request_seed(row_id, purpose)
        return SamplingSettings(asked.temperature, asked.top_p, asked.max_tokens, (), seed, asked.extra_body)


class Asked(NamedTuple):
    """A reply, and the key of the journal's entry that holds it."""

    reply: TeacherReply
    key: str


Ask = Callable[[str, SamplingSettings], Awaitable[Asked]]
"""Puts one user message to the teacher. Raises RequestFailed for this row's fault, EvolcoderError for the run's."""


async def evolve_row(parent: Instruction, plan: RoundPlan, ask: Ask, counts: Counter[str] | None = None) -> Instruction:
    """What round ``plan.round`` makes of a row of its pool: kept, eliminated by a rule, or failed with the fault.

    Args:
        counts: what was changed in replies is added here, under the names in ``CHANGES``.

    Raises:
        EvolcoderError: the run must stop; nothing is known about the row.
    """
    row = failed_row(parent, plan)
    changes = Counter() if counts is None else counts
    marks = marks_with(plan.teacher.thinking_marks)

    async def asked(prompt: str, sampling: SamplingSettings) -> TeacherReply:
        """The teacher's answer without its thinking. A row keeps its costs even if it falls: it was paid for all the same."""
        nonlocal row
        reply, key = await ask(prompt, sampling)
        text, dropped = drop_thinking(reply.text, marks)
        changes["replies_with_thinking"] += dropped > 0
        changes["thinking_characters"] += dropped
        changes["replaced_characters"] += reply.replaced_characters
        row = replace(
            row,
            prompt_tokens=row.prompt_tokens + reply.prompt_tokens,
            completion_tokens=row.completion_tokens + reply.completion_tokens,
            request_keys=[*row.request_keys, key],
        )
        return replace(reply, text=text)

    try:
        task = task_text(parent.instruction, parent.input)
        prompt = choose_operator(plan.operators, plan.evolve.seed, parent, plan.round).prompt(task)
        reply = await asked(prompt, plan.sampling(row.id, "evolve"))
        row = replace(row, instruction=clean_instruction(reply.text))
        reason = eliminate_instruction(row.instruction, task, reply.finish_reason, plan.evolve.max_instruction_words)
        if reason is not None:
            return replace(row, status="eliminated", reason=reason)
        if plan.evolve.judge:
            # A verdict is no invention: the likeliest one is wanted.
            likeliest = plan.sampling(row.id, "judge")
            if likeliest.temperature is not None:
                likeliest = replace(likeliest, temperature=0.0)
            verdict = await asked(judge_prompt(task, row.instruction), likeliest)
            if says_equal(verdict.text):
                return replace(row, status="eliminated", reason=NO_INFORMATION_GAIN)
        reply = await asked(row.instruction, plan.sampling(row.id, "respond"))
        row = replace(row, response=without_outer_blank_lines(reply.text))
        reason = eliminate_response(row.response, reply.finish_reason)
        return replace(row, status="eliminated" if reason else "kept", reason=reason)
    except RequestFailed as failure:
        if failure.kind in FOR_EVER:
            return replace(row, status="eliminated", reason=failure.kind)
        return replace(row, status="failed", reason=str(failure))


def failed_row(parent: Instruction, plan: RoundPlan, reason: str | None = None) -> Instruction:
    """A row with its lineage and without a reply: nothing was learned about this member of the pool."""
    operator = choose_operator(plan.operators, plan.evolve.seed, parent, plan.round).name
    asked = plan.teacher
    sampling = {"temperature": asked.temperature, "top_p": asked.top_p, "max_tokens": asked.max_tokens, **asked.extra_body}
    return Instruction(
        id=child_id(parent, operator, plan.round),
        round=plan.round,
        parent_id=parent.id,
        root_id=parent.root_id,
        operator=operator,
        instruction="",
        input="",
        response="",
        teacher=plan.model,
        sampling=json.dumps(sampling),
        status="failed",
        reason=reason,
    )
