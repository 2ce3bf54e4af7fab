"""One DS-1000 program judged: two boxed processes, the program's and its test's, and the messages between them.

This side decodes plain data and hands it on; it looks into nothing. The test's process says what is to be run or asked,
the program's process says what came of it, and the last word, passed or failed, is the test's.
"""

from __future__ import annotations

from collections.abc import Iterator
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
_OWN_FOLDER = """
import os, tempfile
if os.getcwd() != "/tmp" or os.listdir("."):
    os.chdir(tempfile.mkdtemp(prefix="evolcoder-ds1000-"))
"""
"""In a box /tmp is a process's own. Without isolation the two sides must not meet in one folder either."""

_DATA_HINT = (
    f" (it downloads data: put it under ${DATA_VARIABLE}/ds1000/, see docs/evaluate.md, or leave the task out: "
    "evaluate.leave_out=[DS1000/819])"
)
_SHARED = ("describe", "rebuild")


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
        judge = box.prepare(patient)
    except BoxFault as fault:
        return PartResult("infra_error", str(fault))
    with judge:
        try:
            candidate = box.prepare()
        except BoxFault as fault:
            return PartResult("infra_error", str(fault))
        with candidate:
            relay = _Relay(judge, candidate)
            try:
                status, detail = relay.decide(test, solution)
            except (ProgramFault, BoxFault):
                status, detail = relay.fault()
            candidate.close()
            return PartResult(status, detail, candidate.cpu_seconds, candidate.wall_seconds)


class _Relay:
    def __init__(self, judge: Program, candidate: Program) -> None:
        self._judge, self._candidate = judge, candidate
        self._has_answered = False

    def decide(self, test: Test, solution: str) -> tuple[VerdictStatus, str]:
        """What the test says.

        Raises:
            ProgramFault, BoxFault: one of the two processes cannot go on; ``fault`` says what that means.
        """
        self._judge.load(_inside("test_side", ("begin", "go_on")))
        self._candidate.load(_inside("program_side", ("run", "ask")))
        message = self._judge.function("begin")(test.context, solution, test.proxied, test.tail)
        while True:
            match message:
                case ("done", ("passed" | "failed") as status, str() as detail):
                    return status, detail
                case ("done", "broken", str() as detail):
                    hint = _DATA_HINT if "urlopen" in detail else ""
                    return "infra_error", f"the test cannot be run here: {detail}{hint}"
                case ("run", *arguments):
                    try:
                        said = self._candidate.function("run")(*arguments)
                    except ProgramRaised as raised:  # as the benchmark has it, this ends the test
                        return ("memory" if raised.kind == "MemoryError" else "failed"), str(raised)
                    self._has_answered = True
                    message = self._judge.function("go_on")(("value", said))
                case ("ask", *arguments):
                    message = self._judge.function("go_on")(self._asked(arguments))
                case _:
                    return "infra_error", "the test's process said what it should not"

    def _asked(self, arguments: list[Any]) -> tuple[Any, ...]:
        try:
            return ("value", self._candidate.function("ask")(*arguments))
        except ProgramRaised as raised:
            return ("raised", raised.kind, str(raised))

    def fault(self) -> tuple[VerdictStatus, str]:
        """What a fault says of the program. The test's process failing before the program was heard says nothing of it."""
        for fault in (self._candidate.fault, self._judge.fault):
            if isinstance(fault, BoxFault):
                return "infra_error", str(fault)
        if self._candidate.fault is not None:
            return ("timeout" if isinstance(self._candidate.fault, ProgramTimeout) else "failed"), str(self._candidate.fault)
        said = str(self._judge.fault)
        if not self._has_answered:
            return "infra_error", f"the test's own process failed: {said}"
        return "failed", f"the test could not be finished on what the program returned: {said}"


@lru_cache(maxsize=2)
def _inside(module: str, names: tuple[str, ...]) -> str:
    """Source that sets up one of this package's modules in a process that has no package."""
    lines = ["import sys, types", *_installs((*_SHARED, module))]
    lines.append(f"from {_PACKAGE}.{module} import {', '.join(names)}")
    lines.append(_OWN_FOLDER)
    return "\n".join(lines)


def _installs(modules: tuple[str, ...]) -> Iterator[str]:
    for module in modules:
        name = f"{_PACKAGE}.{module}"
        source = (Path(__file__).parent / "inside" / f"{module}.py").read_text("utf-8")
        yield f"sys.modules[{name!r}] = types.ModuleType({name!r})"
        yield f"exec(compile({source!r}, {module + '.py'!r}, 'exec'), sys.modules[{name!r}].__dict__)"
