"""HumanEval+ and MBPP+: a function is called on many inputs, and its outputs are compared with the reference's.

Data: evalplus/humanevalplus_release and evalplus/mbppplus_release (Apache-2.0), with about 80 and 35 times as many inputs as
HumanEval and MBPP. Of MBPP+, the file that is there decides the version: v0.1.0 has 399 tasks and v0.2.0 has 378 of them.

The calls go over to the box together. Outputs whose bytes are the reference's are right; the rest are decoded and judged by
the oracle, on the trusted side. ``base`` and ``plus`` inputs run in processes of their own, and plus only when base passed,
since plus counts only then. Time limits follow evalplus's rule, on CPU time: a call may take the larger of 4 s and 4 times
the reference's slowest call of the same part.
"""

from __future__ import annotations

import marshal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from evolcoder.evaluate.benchmarks.base import Benchmark, Problem, PromptStyle
from evolcoder.evaluate.benchmarks.evalplus_rules import Oracle, agrees
from evolcoder.evaluate.benchmarks.expected import Expected, expected_outputs, reference_seconds
from evolcoder.evaluate.benchmarks.humaneval import COMPLETION_STYLES
from evolcoder.evaluate.evalplus_adapter import restored_mbpp_inputs
from evolcoder.evaluate.prompts import MBPP_STOPS, scoring_prompt, tabbed
from evolcoder.problems.rows import problem_rows
from evolcoder.sandbox.box import Sandbox
from evolcoder.sandbox.inside.codec import MARSHAL_VERSION
from evolcoder.sandbox.isolation import ResourceLimits
from evolcoder.sandbox.messages import short_repr
from evolcoder.sandbox.outcomes import Call
from evolcoder.sandbox.program import Program

LEAST_CALL_SECONDS = 4.0
REFERENCE_FACTOR = 4.0
OUTPUT_MEMORY_FACTOR = 4
"""A program may have so many times the memory of the largest expected output: Mbpp/255 asks for lists of 1.2 GB."""


@dataclass(frozen=True, slots=True)
class Calls:
    """The encoded arguments of each call, by part, and how outputs are compared."""

    arguments: Mapping[str, tuple[bytes, ...]]
    oracle: Oracle


class PlusBenchmark(Benchmark):
    parts = ("base", "plus")
    task_cpu_seconds = 60.0
    dataset: ClassVar[str]
    """Whose oracles apply: humaneval or mbpp."""

    def problems(self) -> list[Problem]:
        problems = []
        for row in problem_rows(self.name, self.file.name):
            arguments = {}
            for part in self.parts:
                inputs = list(row.fields[f"{part}_input"])  # MBPP+ v0.2.0 writes one that is empty as an object
                if self.dataset == "mbpp":
                    inputs = restored_mbpp_inputs(row.task_id, inputs)
                arguments[part] = tuple(marshal.dumps(tuple(given), MARSHAL_VERSION) for given in inputs)
            oracle = Oracle(self.dataset, row.entry_point, float(row.fields["atol"]))
            problem = Problem(
                task_id=row.task_id,
                prompt=row.fields["prompt"],
                entry_point=row.entry_point,
                canonical_solution=row.fields["canonical_solution"],
                test=row.fields.get("assertion") or row.fields.get("test") or "",
                material=Calls(arguments, oracle),
            )
            problems.append(problem)
        return problems

    def prepare(self, problem: Problem, box: Sandbox) -> dict[str, Expected]:
        calls: Calls = problem.material
        program = problem.prompt + problem.canonical_solution
        return expected_outputs(self.file.version, problem.task_id, program, problem.entry_point, calls.arguments, box)

    def reference_seconds(self, problem: Problem) -> float:
        return reference_seconds(self.file.version, problem.task_id)

    def limits(self, problem: Problem, part: str, prepared: dict[str, Expected], given: ResourceLimits) -> ResourceLimits:
        call = max(LEAST_CALL_SECONDS, REFERENCE_FACTOR * prepared[part].slowest_call_seconds)
        task = max(given.task_cpu_seconds, call)
        memory = max(given.memory_bytes, OUTPUT_MEMORY_FACTOR * prepared[part].largest_bytes)
        return replace(
            given, import_cpu_seconds=LEAST_CALL_SECONDS, call_cpu_seconds=call, task_cpu_seconds=task, memory_bytes=memory
        )

    def check(self, problem: Problem, part: str, program: Program, prepared: dict[str, Expected]) -> None:
        calls: Calls = problem.material
        arguments, expected = calls.arguments[part], prepared[part]
        # Only replies whose bytes are not the expected ones come back; most outputs are never decoded.
        for index, reply in program.differing(problem.entry_point, arguments, expected.payloads):
            given = marshal.loads(arguments[index])
            # Twice, since decoding the reply may raise, and the message then names the call without a result.
            program.last_call = Call(problem.entry_point, given)
            got, wanted = reply.value(), expected.value(index)
            program.last_call = Call(problem.entry_point, given, {}, (got,))
            if not agrees(calls.oracle, given, got, wanted):
                raise AssertionError(f"expected {short_repr(wanted)}")


class HumanEvalPlus(PlusBenchmark):
    name = "humaneval+"
    dataset = "humaneval"
    styles = COMPLETION_STYLES


def _text_and_assertion(problem: Problem) -> tuple[str, str]:
    """The task in words, and the first assertion: v0.1.0 has it in a field of its own, v0.2.0 inside the prompt."""
    lines = problem.prompt.strip().strip("'\"").strip().splitlines()
    text = [line for line in lines if not line.startswith("assert ")]
    asserts = [line for line in [*lines, *problem.test.splitlines()] if line.startswith("assert ")]
    return "\n".join(text).strip(), asserts[0].strip()


def _mbpp_chat(problem: Problem) -> str:
    return "{} Your code should satisfy the following assertion:\n```python\n{}\n```".format(*_text_and_assertion(problem))


class MbppPlus(PlusBenchmark):
    name = "mbpp+"
    dataset = "mbpp"
    code_follows_prompt = False  # v0.1.0's is a string without a line end, that the code's first line would stand behind
    notes = ("Mbpp/164 takes any output and Mbpp/295 takes 0, as evalplus 0.3.1 has it, so that scores compare.",)
    styles = (
        PromptStyle(
            "base", "mbpp+-docstring", "completions", MBPP_STOPS, "stops",
            lambda p: '"""\n{}\n{}\n"""\n'.format(*_text_and_assertion(p)),
        ),
        PromptStyle(
            "wizardcoder", "mbpp+-wizardcoder", "completions", (), "wizardcoder",
            lambda p: scoring_prompt(tabbed(_mbpp_chat(p)), blank_lines=2),
        ),
        PromptStyle("chat", "mbpp+-chat-1", "chat", (), "chat", _mbpp_chat),
    )  # fmt: skip
