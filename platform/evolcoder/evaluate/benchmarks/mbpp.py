"""MBPP: short tasks in words, each with three assertions. Data: google-research/mbpp (CC-BY-4.0).

``mbpp`` is the 500 test tasks (11 to 510); ``mbpp-dev`` is the tasks outside of them, for choosing between models. The
assertions run on the trusted side, where the function's name stands for the program's function. Calls whose arguments name
something (the program's own classes, objects that a task's set-up makes of them, a type) are evaluated in the box as they
are written: they hold no expected value.
"""

from __future__ import annotations

import ast
import sys
from functools import lru_cache
from types import CodeType
from typing import Any

from evolcoder.evaluate.benchmarks.base import Benchmark, Problem, PromptStyle
from evolcoder.evaluate.prompts import MBPP_STOPS, script_prompt
from evolcoder.problems.rows import ProblemRow, parse_quietly, problem_rows
from evolcoder.sandbox.program import Program

FEW_SHOT_TASKS = (2, 3, 4)
_LONG_TESTS = {"Mbpp/493": "calculate_polygons(startx, starty, endx, endy, radius)"}
"""A task whose assertions are too long to be shown; the WizardCoder release shows how the function is called."""
_TASK = "You are an expert Python programmer, and here is your task: {} Your code should pass these tests:\n\n{}[BEGIN]\n"
_EVALUATE = "__evaluate"


def _problem(row: ProblemRow) -> Problem:
    return Problem(
        task_id=row.task_id,
        prompt=row.prompt,
        entry_point=row.entry_point,
        canonical_solution=row.solutions[0],
        test="\n".join(test.strip() for test in row.fields["test_list"]) + "\n",
        material=row.fields["test_setup_code"].replace("\r\n", "\n"),
    )


@lru_cache(maxsize=1)
def _solved_tasks() -> str:
    solved = [_problem(row) for row in problem_rows("mbpp") if row.fields["task_id"] in FEW_SHOT_TASKS]
    return "".join(f"{_TASK.format(task.prompt, task.test)}{task.canonical_solution}\n[DONE]\n\n" for task in solved)


def _shown_tests(problem: Problem) -> str:
    return _LONG_TESTS.get(problem.task_id) or problem.test.strip()


class Mbpp(Benchmark):
    name = "mbpp"
    code_follows_prompt = False
    task_cpu_seconds = 30.0  # the reference of Mbpp/123 alone takes more than 5 s of a slow processor
    styles = (
        PromptStyle(
            "base", "mbpp-docstring", "completions", MBPP_STOPS, "stops",
            lambda p: f'"""\n{p.prompt}\n{p.test.splitlines()[0]}\n"""\n',
        ),
        PromptStyle(
            "few-shot", "mbpp-3-shot", "completions", ("[DONE]",), "stops",
            lambda p: _solved_tasks() + _TASK.format(p.prompt, p.test),
        ),
        PromptStyle(
            "wizardcoder", "mbpp-wizardcoder", "completions", (), "wizardcoder",
            lambda p: script_prompt(f"\n{p.prompt}\nTest examples:\n{_shown_tests(p)}", blank_lines=1),
        ),
        PromptStyle(
            "chat", "mbpp-chat-1", "chat", (), "chat",
            lambda p: f"{p.prompt}\nAnswer with the whole function, and whatever imports it needs, in one ```python block. "
            f"It must pass these tests:\n\n```python\n{_shown_tests(p)}\n```",
        ),
    )  # fmt: skip
    tasks = frozenset(range(11, 511))
    """The numbers of this split's."""

    def problems(self) -> list[Problem]:
        return [_problem(row) for row in problem_rows("mbpp") if row.fields["task_id"] in self.tasks]

    def check(self, problem: Problem, part: str, program: Program, prepared: Any) -> None:
        if problem.material:
            program.load(problem.material)  # makes objects of the program's own classes
        namespace = {problem.entry_point: program.function(problem.entry_point), _EVALUATE: program.evaluate, "sys": sys}
        exec(_compiled(problem.test, problem.entry_point, f"{problem.task_id} test"), namespace)


class MbppDev(Mbpp):
    name = "mbpp-dev"
    tasks = frozenset(range(1, 975)) - Mbpp.tasks - set(FEW_SHOT_TASKS)


@lru_cache(maxsize=1024)
def _compiled(test: str, entry_point: str, name: str) -> CodeType:
    """The assertions, in which calls whose arguments name something are expressions to be evaluated in the box.

    A name in an argument may stand for an object that cannot leave the box, such as a tree of the program's own nodes.
    """
    tree = parse_quietly(test)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == entry_point:
            names_something = any(isinstance(inner, ast.Name) for argument in node.args for inner in ast.walk(argument))
            if names_something:
                source = ast.Constant(ast.unparse(node))
                node.func, node.args, node.keywords = ast.Name(_EVALUATE, ast.Load()), [source], []
    return compile(ast.fix_missing_locations(tree), name, "exec", dont_inherit=True)
