"""MBPP+ : MBPP's tasks with about 35 times as many inputs. Data: evalplus/mbppplus_release (Apache-2.0).

The file that is there decides the version: v0.1.0 has 399 tasks and v0.2.0 has 378 of them.
"""

from __future__ import annotations

from typing import Any

from evolcoder.evaluate.benchmarks.base import Problem, PromptStyle
from evolcoder.evaluate.benchmarks.plus import PlusBenchmark
from evolcoder.evaluate.evalplus_adapter import restored_mbpp_inputs
from evolcoder.evaluate.prompts import MBPP_STOPS, scoring_prompt, tabbed
from evolcoder.problems.files import find_benchmark
from evolcoder.problems.rows import ProblemRow


class MbppPlus(PlusBenchmark):
    name = "mbpp+"
    dataset = "mbpp"
    notes = ("Mbpp/164 takes any output and Mbpp/295 takes 0, as evalplus 0.3.1 has it, so that scores compare.",)

    @property
    def data(self) -> str:
        return "mbpp+-v0.2.0" if find_benchmark("mbpp+") is None and find_benchmark("mbpp+-v0.2.0") else "mbpp+"

    def inputs(self, row: ProblemRow, part: str) -> list[Any]:
        stored = list(row.fields[f"{part}_input"])  # v0.2.0 writes one that is empty as an object
        return restored_mbpp_inputs(row.task_id, stored)

    def program(self, problem: Problem, code: str) -> str:
        """The code alone: v0.1.0's prompt is a string without a line end, that the code's first line would stand behind."""
        return code

    def styles(self) -> tuple[PromptStyle, ...]:
        return (
            PromptStyle("base", "mbpp+-docstring", "completions", MBPP_STOPS, "stops", _docstring),
            PromptStyle("wizardcoder", "mbpp+-wizardcoder", "completions", (), "wizardcoder", _wizardcoder),
            PromptStyle("chat", "mbpp+-chat-1", "chat", (), "chat", _chat),
        )


def _text_and_assertion(problem: Problem) -> tuple[str, str]:
    """The task in words, and the first assertion: v0.1.0 has it in a field of its own, v0.2.0 inside the prompt."""
    lines = problem.prompt.strip().strip("'\"").strip().splitlines()
    text = [line for line in lines if not line.startswith("assert ")]
    asserts = [line for line in [*lines, *problem.test.splitlines()] if line.startswith("assert ")]
    return "\n".join(text).strip(), asserts[0].strip()


def _docstring(problem: Problem) -> str:
    return '"""\n{}\n{}\n"""\n'.format(*_text_and_assertion(problem))


def _chat(problem: Problem) -> str:
    return "{} Your code should satisfy the following assertion:\n```python\n{}\n```".format(*_text_and_assertion(problem))


def _wizardcoder(problem: Problem) -> str:
    return scoring_prompt(tabbed(_chat(problem)), blank_lines=2)
