"""Verdicts on the real problems, in real boxes, without Ray."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from evolcoder.evaluate import judge as judge_module
from evolcoder.evaluate.benchmarks import benchmark_named
from evolcoder.evaluate.benchmarks.base import Problem
from evolcoder.evaluate.benchmarks.humaneval import HumanEval
from evolcoder.evaluate.judge import Job, Submission, TestBodyTimeout, body_limit, judge
from evolcoder.records import Verdict
from evolcoder.sandbox.box import BoxSettings, Sandbox
from evolcoder.sandbox.isolation import ResourceLimits
from evolcoder.sandbox.outcomes import BoxFault

PROBLEMS = HumanEval().problems()
LIMITS = ResourceLimits(import_cpu_seconds=2, call_cpu_seconds=1, task_cpu_seconds=2)


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(BoxSettings(limits=LIMITS)) as sandbox:
        yield sandbox


def problem(number: int) -> Problem:
    return PROBLEMS[number]


def verdict_on(box: Sandbox, number: int, completion: str) -> Verdict:
    return judge(box, Job(benchmark_named("humaneval"), problem(number), 0, Submission("completion", completion)))


def judge_all(completion: Any) -> list[Verdict]:
    with Sandbox(BoxSettings()) as box:
        benchmark = benchmark_named("humaneval")
        return [judge(box, Job(benchmark, p, 0, Submission("completion", completion(p)))) for p in PROBLEMS]


@pytest.mark.slow
def test_all_164_canonical_solutions_pass() -> None:
    verdicts = judge_all(lambda p: p.canonical_solution)
    assert [(v.task_id, v.detail) for v in verdicts if v.status != "passed"] == []
    assert len(verdicts) == 164


@pytest.mark.slow
@pytest.mark.parametrize("body", ["    return None\n", "    pass\n", "    raise ValueError\n", "    return object()\n"])
def test_no_constant_answer_passes_anything(body: str) -> None:
    assert [v.task_id for v in judge_all(lambda p: body) if v.status != "failed"] == []


@pytest.mark.slow
def test_off_by_one_fails_wherever_a_number_is_returned() -> None:
    def wrapped(p: Problem) -> str:
        return (
            f"{p.canonical_solution}\n_right = {p.entry_point}\n"
            f"def {p.entry_point}(*a):\n    r = _right(*a)\n    return r + 1 if type(r) in (int, float) else r\n"
        )

    numeric = [v for v in judge_all(wrapped) if v.status != "passed"]
    assert len(numeric) > 40
    assert {v.status for v in numeric} == {"failed"}


def test_annotations_are_evaluated_as_in_a_python_of_its_own(box: Sandbox) -> None:
    """The most frequent way in which a right looking program is none: typing's names without their import."""
    prompt = problem(0).prompt
    unimported = prompt.replace("from typing import List\n", "") + problem(0).canonical_solution
    assert "List[float]" in unimported

    def verdict(program: str) -> Verdict:
        return judge(box, Job(benchmark_named("humaneval"), problem(0), 0, Submission("solution", program)))

    assert (verdict(unimported).status, verdict(unimported).detail) == ("failed", "NameError: name 'List' is not defined")
    assert verdict("from __future__ import annotations\n" + unimported).status == "passed"
    assert verdict("from typing import List\n" + unimported).status == "passed"


@pytest.mark.parametrize("number", [32, 38, 50, 10])
def test_checks_use_trusted_helpers(box: Sandbox, number: int) -> None:
    assert verdict_on(box, number, problem(number).canonical_solution).status == "passed"
    helpers = {"poly": "0.0", "encode_cyclic": "a[0]", "encode_shift": "a[0]", "is_palindrome": "True"}
    patched = "".join(f"\n\ndef {name}(*a):\n    return {value}\n" for name, value in helpers.items())
    identity = {32: "    return 0.0", 38: "    return s", 50: "    return s", 10: "    return string"}[number]
    assert verdict_on(box, number, identity + patched).status == "failed"


def test_details_say_what_was_called_and_what_came(box: Sandbox) -> None:
    verdict = verdict_on(box, 53, "    return x - y\n")
    assert verdict.status == "failed"
    assert verdict.detail == "assert candidate(0, 1) == 1; add(0, 1) returned -1"
    assert verdict.program.endswith("    return x - y\n")
    verdict = verdict_on(box, 53, "    return x / 0\n")
    assert verdict.detail == "ZeroDivisionError: division by zero; add(0, 1)"
    assert verdict_on(box, 53, "    return object()\n").detail.endswith("add(0, 1) returned <opaque object>")


def test_statuses(box: Sandbox) -> None:
    assert verdict_on(box, 53, "    while True: pass\n").status == "timeout"
    assert verdict_on(box, 53, "    return bytearray(1 << 40)\n").status == "memory"
    assert verdict_on(box, 53, "    return x +\n").status == "failed"
    assert verdict_on(box, 53, "    import os; os._exit(0)\n").status == "failed"
    assert (
        judge(
            box, Job(benchmark_named("humaneval"), problem(53), 3, Submission("answer", "```python\n```", "wizardcoder"))
        ).status
        == "extract_failed"
    )
    passed = verdict_on(box, 53, "    return x + y\n")
    assert (passed.status, passed.detail) == ("passed", "")
    assert passed.cpu_seconds > 0


def test_a_repeated_function_wins_over_the_prompts(box: Sandbox) -> None:
    assert verdict_on(box, 53, "def add(x, y):\n    return x + y\n").status == "passed"


SWALLOWER = Problem(
    task_id="Test/0",
    prompt='def f():\n    """Anything."""\n',
    entry_point="f",
    canonical_solution="",
    test="def check(candidate):\n    try:\n        candidate()\n    except:\n        pass\n",
)


@pytest.mark.parametrize("body", ["import os; os._exit(0)", "while True: pass", "return [0] * 3_000_000"])
def test_a_test_that_swallows_everything_passes_no_dead_program(box: Sandbox, body: str) -> None:
    job = Job(benchmark_named("humaneval"), SWALLOWER, 0, Submission("solution", f"def f():\n    {body}\n"))
    assert judge(box, job).status in ("failed", "timeout")


def test_the_trusted_test_body_has_a_timer_too(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_module, "TEST_BODY_CPU_SECONDS", 0.2)
    slow = replace(SWALLOWER, test="def check(candidate):\n    x = candidate()\n    while x: pass\n")
    verdict = judge(box, Job(benchmark_named("humaneval"), slow, 0, Submission("solution", "def f():\n    return 1\n")))
    assert verdict.status == "timeout"
    assert "the test took over 0.2 s" in verdict.detail


def test_a_test_that_stumbles_is_a_failure_with_a_printable_detail(box: Sandbox) -> None:
    text = replace(SWALLOWER, test="def check(candidate):\n    x = candidate()\n    assert x == 1, str(x)\n")
    verdict = judge(box, Job(benchmark_named("humaneval"), text, 0, Submission("solution", "def f():\n    return 10**5000\n")))
    assert verdict.status == "failed"
    assert "<int of 16610 bits>" in verdict.detail


def test_body_limit_leaves_no_late_exception() -> None:
    with pytest.raises(TestBodyTimeout), body_limit(0.05):
        sum(1 for _ in iter(int, 1))
    with body_limit(5.0):
        total = sum(range(100_000))
    assert total == 4999950000
    for _ in range(50):
        try:
            with body_limit(0.001):
                sum(range(20_000))
        except TestBodyTimeout:
            pass
    sum(range(1_000_000))


class BrokenBox:
    """A box that fails so many times."""

    def __init__(self, box: Sandbox, failures: int) -> None:
        self._box, self.failures, self.settings = box, failures, box.settings

    def prepare(self, limits: ResourceLimits) -> Any:
        if self.failures:
            self.failures -= 1
            raise BoxFault("no space left on device")
        return self._box.prepare(limits)


def test_a_fault_of_the_box_is_tried_once_more_and_is_never_a_wrong_answer(box: Sandbox) -> None:
    job = Job(benchmark_named("humaneval"), problem(53), 0, Submission("completion", "    return x + y\n"))
    assert judge(BrokenBox(box, 1), job).status == "passed"  # type: ignore[arg-type]
    verdict = judge(BrokenBox(box, 2), job)  # type: ignore[arg-type]
    assert (verdict.status, verdict.detail) == ("infra_error", "no space left on device")
