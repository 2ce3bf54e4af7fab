"""From one program to one verdict: run it in a box, test it on the trusted side, name what happened."""

from __future__ import annotations

import ctypes
import reprlib
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from evolcoder.evaluate.benchmarks import benchmark_named
from evolcoder.evaluate.benchmarks.base import Problem
from evolcoder.records import Verdict, VerdictStatus
from evolcoder.sandbox.box import Sandbox
from evolcoder.sandbox.program import BoxFault, Program, ProgramFault, ProgramRaised, ProgramTimeout

TEST_BODY_CPU_SECONDS = 5.0
"""CPU time of the trusted test itself, apart from the program: results can be made to be slow to compare."""

_DETAIL_CHARACTERS = 600


class _Brief(reprlib.Repr):
    """Short forms of values, for messages; an int with too many digits to print must not fail the verdict."""

    def __init__(self) -> None:
        super().__init__()
        self.maxother = self.maxstring = self.maxlong = 80

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if x.bit_length() < 1000 else f"<int of {x.bit_length()} bits>"


_brief = _Brief()


@dataclass(frozen=True, slots=True)
class Job:
    """One program to judge; ``program`` is None when the answer held no code."""

    benchmark: str
    problem: Problem
    sample: int
    program: str | None


class TestBodyTimeout(BaseException):
    """The trusted test took too long over what the program returned."""

    __test__ = False  # not a test of pytest's


def judge(box: Sandbox, job: Job) -> Verdict:
    """The verdict on one program. A fault of the box is tried once more, then told as ``infra_error``."""
    if job.program is None:
        return _verdict(job, "extract_failed", "the answer holds no code")
    verdict = _attempt(box, job)
    return _attempt(box, job) if verdict.status == "infra_error" else verdict


def _attempt(box: Sandbox, job: Job) -> Verdict:
    try:
        program = box.prepare()
    except BoxFault as fault:
        return _verdict(job, "infra_error", str(fault))
    with program:
        status, detail = _try(program, job)
        if program.fault is not None:  # whatever the test made of it
            status, detail = _fault_status(program.fault)
        program.close()
        return _verdict(job, status, detail, program.cpu_seconds, program.wall_seconds)


def _try(program: Program, job: Job) -> tuple[VerdictStatus, str]:
    try:
        program.load(job.program or "")
        with body_limit(TEST_BODY_CPU_SECONDS):
            benchmark_named(job.benchmark).check(job.problem, program)
    except ProgramRaised as raised:
        return ("memory" if raised.kind == "MemoryError" else "failed"), f"{raised}{_called(program)}"
    except (ProgramFault, BoxFault) as fault:
        return _fault_status(fault)
    except TestBodyTimeout:
        return "timeout", f"the test took over {TEST_BODY_CPU_SECONDS:g} s of CPU time{_called(program)}"
    except AssertionError as error:
        return "failed", f"{_assertion(error, job.problem)}{_called(program)}"
    except Exception as error:  # noqa: BLE001 - the test stumbled over a result: a wrong one
        return "failed", f"the test raised {type(error).__name__}: {_said(error)}{_called(program)}"
    return "passed", ""


def _fault_status(fault: ProgramFault | BoxFault) -> tuple[VerdictStatus, str]:
    if isinstance(fault, BoxFault):
        return "infra_error", str(fault)
    return ("timeout" if isinstance(fault, ProgramTimeout) else "failed"), str(fault)


def _assertion(error: AssertionError, problem: Problem) -> str:
    """The line of the test that failed, as it is written."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == f"{problem.task_id} test"]
    source = problem.test.splitlines()
    line = source[lines[-1] - 1].strip() if lines and lines[-1] else ""
    said = _said(error)
    return (line or "an assertion failed") + (f" ({said})" if said else "")


def _said(error: Exception) -> str:
    try:
        return str(error)
    except ValueError:  # the message holds an int with too many digits to print
        return "unprintable"


def _called(program: Program) -> str:
    call = program.last_call
    if call is None:
        return ""
    given = ", ".join([*map(_brief.repr, call.args), *(f"{name}={_brief.repr(value)}" for name, value in call.kwargs.items())])
    returned = f" returned {_brief.repr(call.returned[0])}" if call.returned else ""
    return f"; {call.name}({given}){returned}"


def _verdict(job: Job, status: VerdictStatus, detail: str, cpu_seconds: float = 0.0, wall_seconds: float = 0.0) -> Verdict:
    detail = printable(detail)
    short = detail if len(detail) <= _DETAIL_CHARACTERS else detail[:_DETAIL_CHARACTERS] + " ..."
    task_id = job.problem.task_id
    return Verdict(
        task_id, job.sample, status, short, printable(job.program or ""), round(cpu_seconds, 6), round(wall_seconds, 6)
    )


def printable(text: str) -> str:
    """The text with lone surrogates escaped: files and tables hold UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@contextmanager
def body_limit(cpu_seconds: float) -> Iterator[None]:
    """Raise TestBodyTimeout in this thread once it has used that much CPU time itself.

    It is raised between two bytecodes: a single long operation in C is not interrupted, which is why the codec bounds
    what such an operation could work on.
    """
    thread = threading.get_ident()
    clock = time.pthread_getcpuclockid(thread)
    deadline = time.clock_gettime(clock) + cpu_seconds
    done = threading.Event()
    fired = False

    def watch() -> None:
        nonlocal fired
        while (left := deadline - time.clock_gettime(clock)) > 0:
            if done.wait(left):
                return
        fired = True
        _raise_in(thread, TestBodyTimeout)

    watcher = threading.Thread(target=watch, name="test-body-limit", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        if fired:
            _raise_in(thread, None)  # it may have come too late to be seen


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind) if kind else None)
