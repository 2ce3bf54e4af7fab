"""DS-1000: 1000 data-science problems over seven libraries, in the 2024 format (CC-BY-SA-4.0), keyed on their problem_id.

The tests compare arrays, tables, tensors and figures with the libraries' own functions, and need the libraries for it. So
a program and its test run in two boxes, under an interpreter of their own (``environment.py``): what the program returns
is described as plain data and rebuilt where the test is. ``ds1000-insertion`` is the same problems without Matplotlib's,
asked as a gap to be filled between the given code and the code that follows.
"""

from __future__ import annotations

import re
from dataclasses import replace

from evolcoder.errors import SandboxError
from evolcoder.evaluate.benchmarks.base import Benchmark, PartResult, Problem, PromptStyle
from evolcoder.evaluate.benchmarks.ds1000.environment import PINS, interpreter_for
from evolcoder.evaluate.benchmarks.ds1000.placing import solution_of
from evolcoder.evaluate.benchmarks.ds1000.two_boxes import judged
from evolcoder.evaluate.prompts import script_prompt
from evolcoder.problems.rows import problem_rows
from evolcoder.sandbox.box import NOT_UNDER_LANDLOCK, BoxSettings, Sandbox
from evolcoder.sandbox.isolation import Level, ResourceLimits

STOPS = ("</code>", "# SOLUTION END")
OPTIMIZERS = frozenset({932, 933, 934, 935})
"""Their result is an optimizer of torch, which the test asks about."""

TAILS = frozenset({706, 852, 853, 930})
"""Their context ends in assertions about what the solution defined or wrote: these lines are the test's."""

_FILE_BYTES = _REPLY_BYTES = 64 << 20
_MEMORY_BYTES = 4 << 30
"""Address space: TensorFlow wants 1 GiB before it does anything."""

_TASK_ID = re.compile(r"(?:ds-?1000[/_-])?(\d{1,4})", re.IGNORECASE)
_CHAT = (
    "Solve the following problem. Answer with one ```python block that holds only the code that goes on where the given "
    "code ends. The given code has run already: do not repeat it, and do not define its inputs again. Leave the result "
    "where the problem asks for it."
)
_CONTEXT = re.compile(r'exec_context = r"""\n(.*?)\n?"""', re.DOTALL)


class Ds1000(Benchmark):
    name = "ds1000"
    task_cpu_seconds = 120.0
    packages = ()
    recorded_packages = tuple(f"{name}=={version}" for name, version in PINS.items())
    styles = (
        PromptStyle("base", "ds1000-completion", "completions", STOPS, "stops", lambda p: p.prompt),
        PromptStyle("wizardcoder", "ds1000-wizardcoder-1", "completions", (), "ds1000", script_prompt),
        PromptStyle("chat", "ds1000-chat-1", "chat", (), "chat", lambda p: f"{_CHAT}\n\n{p.prompt.rstrip()}"),
    )

    def problems(self) -> list[Problem]:
        return [
            Problem(
                task_id=row.task_id,
                prompt=row.prompt,
                entry_point=row.entry_point,
                canonical_solution=row.solutions[0],
                test=row.tests,
                material=row.fields["metadata"]["problem_id"],
                groups={
                    "library": row.fields["metadata"]["library"],
                    "perturbation": row.fields["metadata"]["perturbation_type"],
                },
            )
            for row in problem_rows("ds1000")
        ]

    def task_id(self, text: str) -> str:
        """A problem_id, with or without a name of the benchmark before it."""
        found = _TASK_ID.fullmatch(text)
        return f"DS1000/{int(found.group(1))}" if found else text

    def program(self, problem: Problem, code: str) -> str:
        """What goes in the place of the solution; the context around it is the test's."""
        return solution_of(problem.prompt, code)

    def require(self, level: Level) -> None:
        if level == "landlock":
            raise SandboxError(NOT_UNDER_LANDLOCK)
        interpreter_for("Numpy")

    def program_limits(self, given: ResourceLimits) -> ResourceLimits:
        return replace(
            given,
            import_cpu_seconds=given.task_cpu_seconds,
            call_cpu_seconds=given.task_cpu_seconds,
            wall_factor=2.0,
            memory_bytes=max(given.memory_bytes, _MEMORY_BYTES),
            tmp_bytes=_FILE_BYTES,
            reply_bytes=_REPLY_BYTES,
            threads=512,
        )

    def box(self, problem: Problem, given: BoxSettings) -> BoxSettings:
        return replace(given, interpreter=interpreter_for(problem.groups["library"]))

    def attempt(self, problem: Problem, part: str, source: str, box: Sandbox) -> PartResult | None:
        number = problem.material
        proxied = problem.groups["library"] == "Matplotlib" or number in OPTIMIZERS or number in TAILS
        return judged(problem.test, source, box, proxied, tail=number in TAILS)


def gap(problem: Problem) -> tuple[str, str]:
    """What stands before and after the solution: the prompt, and the code that the context goes on with."""
    found = _CONTEXT.search(problem.test)
    after = found.group(1).partition("[insert]")[2].strip("\n") if found and problem.material not in TAILS else ""
    return problem.prompt, f"\n{after}\n</code>" if after else "\n</code>"


def fill_in_prompt(problem: Problem) -> str:
    """The gap in the tokens of StarCoder and the models made from it."""
    before, after = gap(problem)
    return f"<fim_prefix>{before}<fim_suffix>{after}<fim_middle>"


class Ds1000Insertion(Ds1000):
    name = "ds1000-insertion"
    styles = (
        PromptStyle("base", "ds1000-insertion-starcoder", "completions", STOPS, "stops", fill_in_prompt),
        *Ds1000.styles[1:],
    )

    def problems(self) -> list[Problem]:
        return [problem for problem in super().problems() if problem.groups["library"] != "Matplotlib"]
