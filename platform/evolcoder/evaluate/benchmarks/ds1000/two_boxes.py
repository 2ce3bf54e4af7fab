"""One DS-1000 program judged: two boxed processes, the program's and its test's, and the messages between them.

This side decodes plain data and hands it on; it looks into nothing. The test's process says what is to be run or asked,
the program's process says what came of it, and the last word, passed or failed, is the test's.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from evolcoder.evaluate.benchmarks.base import PartResult, status_of
from evolcoder.records import VerdictStatus
from evolcoder.sandbox.box import Sandbox
from evolcoder.sandbox.outcomes import BoxFault, ProgramFault, ProgramRaised
from evolcoder.sandbox.program import Program
from evolcoder.sources import DATA_VARIABLE

_PACKAGE = "evolcoder.evaluate.benchmarks.ds1000.inside"
_DATA_HINT = (
    f" (it downloads data: put it under ${DATA_VARIABLE}/ds1000/, see docs/evaluate.md, or leave the task out: "
    "evaluate.leave_out=[DS1000/819])"
)
_JUDGE_CPU_FACTOR = 2.0


def judged(context: str, solution: str, box: Sandbox, proxied: bool, tail: bool) -> PartResult:
    """The result of one solution, in two fresh processes of the box.

    Args:
        context: the benchmark's own test.
        proxied: objects that cannot cross are asked about.
        tail: the context's last lines belong to the test.
    """
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
            status, detail = _decide((context, solution, proxied, tail), judge, candidate)
            candidate.close()
            return PartResult(status, detail, candidate.cpu_seconds, candidate.wall_seconds)
    except BoxFault as fault:
        return PartResult("infra_error", str(fault))


def _decide(test: tuple[str, str, bool, bool], judge: Program, candidate: Program) -> tuple[VerdictStatus, str]:
    """What the test says, or what a process's fault says of the program. The test's process failing before the program was
    heard says nothing of it.
    """
    heard = False
    said: tuple[Any, ...]
    try:
        judge.load(_inside("test_side", "begin, go_on"))
        candidate.load(_inside("program_side", "run, ask"))
        message = judge.function("begin")(*test)
        while True:
            match message:
                case ("done", ("passed" | "failed") as status, str() as detail):
                    return status, detail
                case ("done", "broken", str() as detail):
                    hint = _DATA_HINT if "urlopen" in detail else ""
                    return "infra_error", f"the test cannot be run here: {detail}{hint}"
                case ("run" | "ask" as what, *arguments):
                    try:
                        said = ("value", candidate.function(what)(*arguments))
                    except ProgramRaised as raised:
                        if what == "run":  # as the benchmark has it, this ends the test
                            return status_of(raised), str(raised)
                        said = ("raised", raised.kind, str(raised))
                    heard = heard or what == "run"
                case _:
                    return "infra_error", "the test's process said what it should not"
            message = judge.function("go_on")(said)
    except (ProgramFault, BoxFault):
        for fault in (candidate.fault, judge.fault):
            if isinstance(fault, BoxFault):
                return "infra_error", str(fault)
        if candidate.fault is not None:
            return status_of(candidate.fault), str(candidate.fault)
        if not heard:
            return "infra_error", f"the test's own process failed: {judge.fault}"
        return "failed", f"the test could not be finished on what the program returned: {judge.fault}"


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
