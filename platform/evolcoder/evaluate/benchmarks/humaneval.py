"""HumanEval: 164 functions to complete from their docstring, each with its own ``check(candidate)``.

Data: openai/human-eval (MIT). The check runs on the trusted side, on a stand-in for the candidate whose calls go to the
program in its box; helper functions that a prompt defines and its check uses (``poly``, ``encode_cyclic``,
``encode_shift``) are the prompt's own there, not the program's. Arguments reach the program as copies, so that what it does
to them in place is not seen; no check of this benchmark looks for that.
"""

from __future__ import annotations

import random
from functools import lru_cache
from types import CodeType
from typing import Any

from evolcoder.evaluate.benchmarks.base import Benchmark, Problem, PromptStyle
from evolcoder.evaluate.prompts import BASE_STOPS, script_prompt
from evolcoder.problems.rows import problem_rows
from evolcoder.sandbox.program import Program

COMPLETION_STYLES = (
    PromptStyle("base", "humaneval-raw", "completions", BASE_STOPS, "stops", lambda p: p.prompt),
    PromptStyle("wizardcoder", "humaneval-wizardcoder", "completions", (), "wizardcoder", lambda p: script_prompt(p.prompt)),
    PromptStyle(
        "chat", "humaneval-chat-1", "chat", (), "chat",
        lambda p: "Complete the following Python function. Answer with the whole function, and whatever imports it needs, "
        f"in one ```python block.\n\n```python\n{p.prompt.rstrip()}\n```",
    ),
)  # fmt: skip
"""How a function that is to be completed from its docstring is put to a model."""


class HumanEval(Benchmark):
    name = "humaneval"
    styles = COMPLETION_STYLES

    def problems(self) -> list[Problem]:
        return [
            Problem(row.task_id, row.prompt, row.entry_point, row.fields["canonical_solution"], row.fields["test"])
            for row in problem_rows(self.name)
        ]

    def check(self, problem: Problem, part: str, program: Program, prepared: Any) -> None:
        candidate = program.function(problem.entry_point)
        namespace: dict[str, Any] = {"__name__": problem.task_id}
        exec(_compiled(problem.prompt, f"{problem.task_id} prompt"), namespace)
        # The prompt's own definition of the function is a stub: helpers that the check uses must call the program's.
        namespace[problem.entry_point] = candidate
        exec(_compiled(problem.test, f"{problem.task_id} test"), namespace)
        random.seed(problem.task_id)  # some checks draw their inputs, and every run must draw the same
        namespace["check"](candidate)


@lru_cache(maxsize=512)
def _compiled(source: str, name: str) -> CodeType:
    return compile(source, name, "exec", dont_inherit=True)
