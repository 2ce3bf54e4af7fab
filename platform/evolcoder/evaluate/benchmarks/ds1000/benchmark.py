"""DS-1000: 1000 data-science problems over seven libraries, in the 2024 format (CC-BY-SA-4.0), keyed on their problem_id.

The tests compare arrays, tables, tensors and figures with the libraries' own functions, and need the libraries for it. So
a program and its test run in two boxes, under an interpreter of their own (``environment.py``): what the program returns
is described as plain data and rebuilt where the test is. ``ds1000-insertion`` is the same problems without Matplotlib's,
asked as a gap to be filled between the given code and the code that follows.

DS-1000 wants the code that goes on after the given code. Chat models like to repeat what was given, and a copy of the
inputs would overwrite the hidden ones. So given lines that the code begins with, word for word, are dropped; where the
solution is the body of a given function, the body is taken out of a repeated function, and indented when it is not.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import replace
from itertools import takewhile

from evolcoder.errors import SandboxError
from evolcoder.evaluate.benchmarks.base import Benchmark, PartResult, Problem, PromptStyle
from evolcoder.evaluate.benchmarks.ds1000.environment import PINS, interpreter_for
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
_DEFINITION = re.compile(r"^def\s+(\w+)\s*\(", re.MULTILINE)
_SCAFFOLD = ("<code>", "BEGIN SOLUTION", "### BEGIN SOLUTION", "# SOLUTION START")
_HINT = re.compile(r"[\w, .\[\]'\"()]+ = \.\.\. # put solution in")


class Ds1000(Benchmark):
    name = "ds1000"
    task_cpu_seconds = 120.0
    packages = ()
    recorded_packages = tuple(f"{name}=={version}" for name, version in PINS.items())
    styles = (
        PromptStyle("base", "ds1000-completion", "completions", STOPS, "stops", lambda p: p.prompt),
        PromptStyle("wizardcoder", "ds1000-wizardcoder-1", "completions", (), "ds1000", lambda p: script_prompt(p.prompt)),
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


class Ds1000Insertion(Ds1000):
    name = "ds1000-insertion"
    styles = (
        PromptStyle(
            "base", "ds1000-insertion-starcoder", "completions", STOPS, "stops",
            lambda p: "<fim_prefix>{}<fim_suffix>{}<fim_middle>".format(*gap(p)),  # for models made from StarCoder
        ),
        *Ds1000.styles[1:],
    )  # fmt: skip

    def problems(self) -> list[Problem]:
        return [problem for problem in super().problems() if problem.groups["library"] != "Matplotlib"]


def solution_of(prompt: str, code: str) -> str:
    """What goes in the place of the solution; the context around it is the test's. No text makes it fail."""
    lines = _without_given(prompt, code.split("\n"))
    if not prompt.endswith("    ### BEGIN SOLUTION"):
        return "\n".join(lines)
    function = _DEFINITION.findall(prompt)[-1:]  # the one whose body is asked for
    return _body(function[0], lines) if function else "\n".join(lines)


def _without_given(prompt: str, lines: list[str]) -> list[str]:
    """The lines after those that repeat the prompt's code from its first line on, blank ones apart."""
    _, found, after = prompt.rpartition("A:\n")  # Matplotlib's prompts are code all over
    block = (after if found else prompt).split("BEGIN SOLUTION")[0].split("</code>")[0]
    given = [line.rstrip() for line in block.split("\n") if line.strip() and line.strip() not in (*_SCAFFOLD, "###")]
    place = 0
    for start, line in enumerate(lines):
        if place < len(given) and line.rstrip() == given[place]:
            place += 1
        elif line.strip() not in _SCAFFOLD and not (place and (not line.rstrip() or _HINT.match(line))):
            return lines[start:] if given and place == len(given) else lines
    return [] if given and place == len(given) else lines


def _body(function: str, lines: list[str]) -> str:
    for place, line in enumerate(lines):
        found = _DEFINITION.match(line)
        if found and found.group(1) == function:
            imports = [f"    {kept}" for kept in lines[:place] if re.match(r"(import|from)\s", kept)]
            signature_end = next((end for end in range(place, len(lines)) if lines[end].rstrip().endswith(":")), place)
            body = list(takewhile(lambda kept: not kept.strip() or kept[0] in " \t", lines[signature_end + 1 :]))
            return "\n".join([*imports, *body])
    first = next((line for line in lines if line.strip() and not line.lstrip().startswith("#")), "")
    return "\n".join(lines) if first[:1] in (" ", "\t", "") else textwrap.indent("\n".join(lines), "    ")
