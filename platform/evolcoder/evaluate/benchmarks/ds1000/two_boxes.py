"""One DS-1000 program judged: two boxed processes, the program's and its test's, and the messages between them.

This side decodes plain data and hands it on; it looks into nothing. The test's process says what is to be run or asked,
the program's process says what came of it, and the last word, passed or failed, is the test's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from evolcoder.evaluate.benchmarks.base import PartResult
from evolcoder.records import VerdictStatus
from evolcoder.sandbox.box import Sandbox
from evolcoder.sandbox.outcomes import BoxFault, ProgramFault, ProgramRaised, ProgramTimeout
from evolcoder.sandbox.program import Program
from evolcoder.sources import DATA_VARIABLE

_PACKAGE = "evolcoder.evaluate.benchmarks.ds1000.inside"
_DATA_HINT = (
    f" (it downloads data: put it under ${DATA_VARIABLE}/ds1000/, see docs/evaluate.md, or leave the task out: "
    "evaluate.leave_out=[DS1000/819])"
)


@dataclass(frozen=True, slots=True)
class Test:
    """What a program is judged by. ``proxied``: objects that cannot cross are asked about; ``tail``: the context's last
    lines belong to the test."""

    __test__ = False  # not a test of pytest's

    context: str
    proxied: bool
    tail: bool


_JUDGE_CPU_FACTOR = 2.0


def judged(test: Test, solution: str, box: Sandbox) -> PartResult:
    """The result of one solution, in two fresh processes of the box."""
    limits = box.settings.limits
    seconds = limits.task_cpu_seconds * _JUDGE_CPU_FACTOR
    patient = replace(
        limits,
        import_cpu_seconds=seconds,
        call_cpu_seconds=seconds,
        task_cpu_seconds=seconds,
        wall_factor=4 * limits.wall_factor,
    )
    try:
        with box.prepare(patient) as judge, box.prepare() as candidate:
            status, detail = _decide(test, solution, judge, candidate)
            candidate.close()
            return PartResult(status, detail, candidate.cpu_seconds, candidate.wall_seconds)
    except BoxFault as fault:
        return PartResult("infra_error", str(fault))


def _decide(test: Test, solution: str, judge: Program, candidate: Program) -> tuple[VerdictStatus, str]:
    """What the test says, or what a process's fault says of the program."""
    heard = False
    said: tuple[Any, ...]
    try:
        judge.load(_inside("test_side", "begin, go_on"))
        candidate.load(_inside("program_side", "run, ask"))
        message = judge.function("begin")(test.context, solution, test.proxied, test.tail)
        while True:
            match message:
                case ("done", ("passed" | "failed") as status, str() as detail):
                    return status, detail
                case ("done", "broken", str() as detail):
                    hint = _DATA_HINT if "urlopen" in detail else ""
                    return "infra_error", f"the test cannot be run here: {detail}{hint}"
                case ("run", *arguments):
                    try:
                        said = ("value", candidate.function("run")(*arguments))
                    except ProgramRaised as raised:  # as the benchmark has it, this ends the test
                        return ("memory" if raised.kind == "MemoryError" else "failed"), str(raised)
                    heard = True
                case ("ask", *arguments):
                    try:
                        said = ("value", candidate.function("ask")(*arguments))
                    except ProgramRaised as raised:
                        said = ("raised", raised.kind, str(raised))
                case _:
                    return "infra_error", "the test's process said what it should not"
            message = judge.function("go_on")(said)
    except (ProgramFault, BoxFault):
        return _meaning(judge.fault, candidate.fault, heard)


def _meaning(
    judge: ProgramFault | BoxFault | None, candidate: ProgramFault | BoxFault | None, heard: bool
) -> tuple[VerdictStatus, str]:
    """What the faults say of the program. The test's process failing before the program was heard says nothing of it."""
    for fault in (candidate, judge):
        if isinstance(fault, BoxFault):
            return "infra_error", str(fault)
    if candidate is not None:
        return ("timeout" if isinstance(candidate, ProgramTimeout) else "failed"), str(candidate)
    if not heard:
        return "infra_error", f"the test's own process failed: {judge}"
    return "failed", f"the test could not be finished on what the program returned: {judge}"


@lru_cache(maxsize=2)
def _inside(module: str, names: str) -> str:
    """Source that sets up one of this package's modules in a process that has no package, and hides them from programs."""
    lines = ["import sys, types"]
    modules = ("describe", "rebuild", module)
    for part in modules:
        name = f"{_PACKAGE}.{part}"
        source = (Path(__file__).parent / "inside" / f"{part}.py").read_text("utf-8")
        lines.append(f"sys.modules[{name!r}] = types.ModuleType({name!r})")
        lines.append(f"exec(compile({source!r}, {part + '.py'!r}, 'exec', dont_inherit=True), sys.modules[{name!r}].__dict__)")
    lines.append(f"from {_PACKAGE}.{module} import {names}")
    lines += [f"del sys.modules['{_PACKAGE}.{part}']" for part in modules]
    return "\n".join(lines)
