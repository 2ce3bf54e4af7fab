"""Operators as data: the five of Evol-Instruct for code, those that a user adds, and which of them a row meets. Pure.

The wording is our own; what each of the five asks for follows the WizardCoder paper, section 3.2. Prompts are short because
the default teacher is small, and a strong one needs no more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from evolcoder.records import Instruction
from evolcoder.settings.evolve import OperatorSettings, operator_applies
from evolcoder.storage.hashes import stable_hash

_TEMPLATE = """Rewrite the programming task below as a slightly harder one. {method}
Reply with the rewritten task alone: no solution and no explanation.

Original task:
{{task}}

Rewritten task:"""

SHOWN_CODE = re.compile(
    r"```|^\s*(?:def |class |import |from \w+ import |#include|func(?:tion)? \w+\s*\(|public |SELECT\s)"
    r"|^\s*(?:const|let|var) \w+ ?=|[;{}]\s*$",
    re.MULTILINE,
)
"""Of a task that shows code: in a fence, or in lines that look like it."""


@dataclass(frozen=True)
class Operator:
    """One way to make a task harder.

    ``template`` holds ``{task}`` once; ``weight`` is its share in the draw; ``rounds`` and ``code`` say to what it applies,
    None being everything.
    """

    name: str
    template: str
    weight: float = 1.0
    rounds: tuple[int, ...] | None = None
    code: bool | None = None

    def prompt(self, task: str) -> str:
        # Not str.format: a user's template, and any task, may hold braces of its own.
        head, _, tail = self.template.partition("{task}")
        return f"{head}{task}{tail}"


_METHODS = {
    "constraints": "Add one or two new requirements or constraints, in about 10 more words.",
    "rarer_requirements": "Replace one common requirement of it with a less common and more specific one.",
    "deeper_reasoning": "If a few steps of reasoning are enough to solve it, change it so that it needs more steps.",
    "erroneous_code": (
        "Include a short piece of code that looks right but is wrong, as a misleading reference that must be debugged."
    ),
    "complexity": ("Ask for a stricter time or space complexity where that is natural; otherwise add one edge case to handle."),
}
OPERATORS = {name: Operator(name, _TEMPLATE.format(method=method)) for name, method in _METHODS.items()}


def task_text(instruction: str, input: str) -> str:
    """What the teacher sees of a row: the instruction, with its input below where it has one."""
    return f"{instruction}\n\nInput:\n{input}" if input else instruction


def operators_of(given: Sequence[str | OperatorSettings]) -> tuple[Operator, ...]:
    """The operators that settings name or describe."""
    wanted = (OperatorSettings(name=item) if isinstance(item, str) else item for item in given)
    return tuple(
        Operator(one.name, one.template or OPERATORS[one.name].template, one.weight, one.rounds, one.code) for one in wanted
    )


def choose_operator(operators: Sequence[Operator], seed: int, parent: Instruction, round_number: int) -> Operator:
    """The operator that a row meets in a round: the same for the same arguments, on any machine."""
    with_code = bool(SHOWN_CODE.search(task_text(parent.instruction, parent.input)))
    fitting = [one for one in operators if operator_applies(one.rounds, one.code, round_number, with_code)]
    # 13 hexadecimal digits are 52 bits, which a float holds exactly: the draw is the same on any machine.
    point = int(stable_hash("operator", str(seed), parent.id, str(round_number))[:13], 16) / 16**13
    point *= sum(operator.weight for operator in fitting)
    for operator in fitting:
        point -= operator.weight
        if point < 0:
            return operator
    return fitting[-1]  # rounding may leave the point at the very end of the last share


def child_id(parent: Instruction, operator: str, round_number: int) -> str:
    """The id of what an operator makes of a row: it stands for the root and the whole lineage since."""
    return stable_hash("instruction", parent.id, operator, str(round_number))


def request_seed(row_id: str, purpose: str) -> int:
    """The sampling seed of one request of one row, so that equal prompts of two rows are two requests."""
    return int(stable_hash("request", row_id, purpose)[:7], 16)  # 28 bits: servers take a signed 32-bit seed


def prompts_fingerprint(operators: Sequence[Operator]) -> str:
    """A hash of all that decides what the teacher is asked: wording, weights, and to what each operator applies."""
    parts = [part for one in operators for part in (one.name, one.template, repr((one.weight, one.rounds, one.code)))]
    return stable_hash(task_text("{instruction}", "{input}"), SHOWN_CODE.pattern, *parts)
