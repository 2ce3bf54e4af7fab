"""From one answer to one verdict: take its code, run it in a box, test it on the trusted side, name what happened."""

from __future__ import annotations

import ctypes
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from evolcoder.evaluate.benchmarks.base import Benchmark, PartResult, Problem, status_of
from evolcoder.evaluate.extraction import ExtractionId, extract
from evolcoder.records import AnswerKind, Verdict, VerdictStatus
from evolcoder.sandbox.box import Sandbox
from evolcoder.sandbox.messages import printable, short_call
from evolcoder.sandbox.outcomes import BoxFault, ProgramFault, ProgramRaised
from evolcoder.sandbox.program import Program
from evolcoder.text.thinking import KNOWN_MARKS, Mark

TEST_BODY_CPU_SECONDS = 5.0
"""CPU time of the trusted test itself, apart from the program: results can be made to be slow to compare."""

EXTRACTION_CPU_SECONDS = 20.0
"""CPU time of taking the code from an answer: the sanitizer's grows with the square of the answer's lines."""

_DETAIL_CHARACTERS = 600


@dataclass(frozen=True, slots=True)
class Submission:
    """What is to become a program: a model's raw ``answer``, code that is a ``completion``, or a whole ``solution``.

    The others say how code is taken from an answer.
    """

    kind: AnswerKind
    text: str
    extraction: ExtractionId = "none"
    stops: tuple[str, ...] = ()
    thinking_marks: tuple[Mark, ...] = KNOWN_MARKS


@dataclass(frozen=True, slots=True)
class Job:
    """One answer to judge. The benchmark itself and not its name: a process that judges needs no table of benchmarks."""

    benchmark: Benchmark
    problem: Problem
    sample: int
    submission: Submission


class TestBodyTimeout(BaseException):
    """Trusted work took too long over what a model or its program gave."""

    __test__ = False  # not a test of pytest's


def judge(box: Sandbox, job: Job) -> Verdict:
    """The verdict on one answer. A fault of the box is tried once more, then told as ``infra_error``."""
    parts = job.benchmark.parts
    program, why = program_of(job)
    results: dict[str, PartResult] = {}
    for part in parts:
        if program is None:
            last = PartResult("extract_failed", why)
        else:
            last = _run_part(box, job.benchmark, job.problem, part, program)
            if last.status == "infra_error":
                last = _run_part(box, job.benchmark, job.problem, part, program)
        results[part] = last
        if last.status != "passed":
            break
    several = len(parts) > 1
    detail = printable(f"{part}: {last.detail}" if several and last.detail else last.detail)
    return Verdict(
        task_id=job.problem.task_id,
        sample=job.sample,
        status=last.status,
        base=results[parts[0]].status,
        plus=(results["plus"].status if "plus" in results else "not_run") if several else None,
        detail=detail if len(detail) <= _DETAIL_CHARACTERS else detail[:_DETAIL_CHARACTERS] + " ...",
        program=printable(program or ""),
        cpu_seconds=round(sum(result.cpu_seconds for result in results.values()), 6),
        wall_seconds=round(sum(result.wall_seconds for result in results.values()), 6),
    )


def program_of(job: Job) -> tuple[str | None, str]:
    """The whole program, or None and why there is none."""
    given = job.submission
    if given.kind == "solution":
        return given.text.removeprefix("\ufeff"), ""
    code: str | None = given.text
    if given.kind == "answer":
        try:
            with body_limit(EXTRACTION_CPU_SECONDS):
                code = extract(given.extraction, given.text, given.stops, job.problem.entry_point, given.thinking_marks)
        except TestBodyTimeout:
            return None, f"the extraction {given.extraction} took over {EXTRACTION_CPU_SECONDS:g} s of CPU time"
    return (None, "the answer holds no code") if code is None else (job.benchmark.program(job.problem, code), "")


def _run_part(box: Sandbox, benchmark: Benchmark, problem: Problem, part: str, source: str) -> PartResult:
    own = benchmark.attempt(problem, part, source, box)
    if own is not None:
        return own
    try:
        prepared = benchmark.prepare(problem, box)
        program = box.prepare(benchmark.limits(problem, part, prepared, box.settings.limits))
    except BoxFault as fault:
        return PartResult("infra_error", str(fault))
    with program:
        # The fault that the program's side recorded wins: a test that swallows every exception must pass no dead program.
        status, detail = _run_check(program, benchmark, problem, part, source, prepared)
        if program.fault is not None:
            status, detail = status_of(program.fault), str(program.fault)
        program.close()
        return PartResult(status, detail, program.cpu_seconds, program.wall_seconds)


def _run_check(
    program: Program, benchmark: Benchmark, problem: Problem, part: str, source: str, prepared: Any
) -> tuple[VerdictStatus, str]:
    try:
        program.load(source)
        with body_limit(TEST_BODY_CPU_SECONDS):
            benchmark.check(problem, part, program, prepared)
        return "passed", ""
    except (ProgramFault, BoxFault) as fault:
        return status_of(fault), str(fault)
    except ProgramRaised as raised:
        status, detail = status_of(raised), str(raised)
    except TestBodyTimeout:
        status, detail = "timeout", f"the test took over {TEST_BODY_CPU_SECONDS:g} s of CPU time"
    except AssertionError as error:
        status, detail = "failed", _assertion(error, problem)
    except Exception as error:  # noqa: BLE001 - the test stumbled over a result: a wrong one
        status, detail = "failed", f"the test raised {type(error).__name__}: {_said(error)}"
    return status, detail if program.last_call is None else f"{detail}; {short_call(program.last_call)}"


def _assertion(error: AssertionError, problem: Problem) -> str:
    """The line of the test that failed, as it is written, and what the assertion says."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == f"{problem.task_id} test"]
    source = problem.test.splitlines()
    line = source[lines[-1] - 1].strip() if lines and lines[-1] else ""
    said = _said(error)
    if not line:
        return said or "an assertion failed"
    return line + (f" ({said})" if said else "")


def _said(error: Exception) -> str:
    try:
        return str(error)
    except ValueError:  # the message holds an int with too many digits to print
        return "unprintable"


@contextmanager
def body_limit(cpu_seconds: float) -> Iterator[None]:
    """Raise TestBodyTimeout in this thread once it has used that much CPU time itself.

    It is raised between two bytecodes: a single long operation in C is not interrupted, which is why the codec bounds
    what such an operation could work on.
    """
    # No signal: those reach only the main thread, and judging runs in others. The clock is this thread's own CPU time.
    thread, set_exception = threading.get_ident(), ctypes.pythonapi.PyThreadState_SetAsyncExc
    clock = time.pthread_getcpuclockid(thread)
    deadline = time.clock_gettime(clock) + cpu_seconds
    done = threading.Event()
    fired = False

    def watch() -> None:
        nonlocal fired
        while (left := deadline - time.clock_gettime(clock)) > 0:
            if done.wait(left):  # in wall time, of which a thread uses no more than passes
                return
        fired = True
        set_exception(ctypes.c_ulong(thread), ctypes.py_object(TestBodyTimeout))

    watcher = threading.Thread(target=watch, name="test-body-limit", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        if fired:
            set_exception(ctypes.c_ulong(thread), None)  # takes back one that was set after the last bytecode of the body
