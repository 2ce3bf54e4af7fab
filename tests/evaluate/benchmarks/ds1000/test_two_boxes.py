"""How a DS-1000 program is judged in two boxes, on tests in the benchmark's form that need numpy alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evolcoder.evaluate.benchmarks.base import PartResult
from evolcoder.evaluate.benchmarks.ds1000.two_boxes import judged
from evolcoder.sandbox.box import BoxSettings, Sandbox
from evolcoder.sandbox.isolation import ResourceLimits

CONTEXT = '''
import copy
import os
import numpy as np


def generate_test_case(test_case_id):
    def define_test_input(test_case_id):
        if test_case_id == 1:
            return np.arange(4.0), [1]
        return np.arange(6).reshape(2, 3), [2, 3]

    def generate_ans(data):
        {made_elsewhere}
        values, numbers = data
        return {answer}

    test_input = define_test_input(test_case_id)
    return test_input, generate_ans(copy.deepcopy(test_input))


def exec_test(result, ans):
    {test}
    return 1


exec_context = r"""
import numpy as np
values, numbers = test_input
[insert]
{after}"""


def test_execution(solution: str):
    code = exec_context.replace("[insert]", solution)
    for i in range(2):
        test_input, expected_result = generate_test_case(i + 1)
        test_env = {{"test_input": test_input}}
        exec(code, test_env)
        assert exec_test(test_env["result"], expected_result)


def test_string(solution: str):
    assert "while" not in solution
'''
EQUAL = "np.testing.assert_array_equal(result, ans)"
CLOSE = "assert np.allclose(result, ans)"


def context(answer: str = "values + 1", test: str = EQUAL, after: str = "", made_elsewhere: str = "pass") -> str:
    return CONTEXT.format(answer=answer, test=test, after=after, made_elsewhere=made_elsewhere)


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    limits = ResourceLimits(import_cpu_seconds=5, call_cpu_seconds=5, task_cpu_seconds=5, memory_bytes=2 << 30, threads=64)
    with Sandbox(BoxSettings(limits=limits, packages=("numpy",))) as sandbox:
        yield sandbox


def run(box: Sandbox, solution: str, text: str | None = None, proxied: bool = False, tail: bool = False) -> PartResult:
    return judged(text or context(), solution, box, proxied, tail)


def test_a_right_solution_passes_all_cases(box: Sandbox) -> None:
    result = run(box, "result = values + 1")
    assert (result.status, result.detail) == ("passed", "")
    assert result.cpu_seconds > 0


@pytest.mark.parametrize(
    ("solution", "detail"),
    [
        ("result = values + 2", "got array([2., 3., 4., 5.]), expected array([1., 2., 3., 4.])"),
        ("result = values + (1 if values.ndim == 1 else 2)", "got array([[2, 3, 4], [5, 6, 7]])"),
        ("raise ValueError('no')", "ValueError: no"),
        ("result = (", "SyntaxError"),
        ("x = 1", "KeyError: 'result'"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("import os; os._exit(0)", "it ended itself with exit status 0"),
        ("result = values + 1\nwhile False: pass", "AssertionError"),
        ("result = object()", "got <a builtins.object of the program>"),
    ],
)
def test_a_wrong_one_fails_and_says_why(box: Sandbox, solution: str, detail: str) -> None:
    result = run(box, solution)
    assert result.status == "failed"
    assert detail in result.detail


def test_limits_are_told_apart(box: Sandbox) -> None:
    assert run(box, "while True: pass").status == "timeout"
    assert run(box, "raise MemoryError").status == "memory"


def test_the_tests_own_failure_is_no_wrong_answer(box: Sandbox) -> None:
    result = run(box, "result = values + 1", context(made_elsewhere="open('absent.csv')"))
    assert result.status == "infra_error"
    assert "the test cannot be run here: FileNotFoundError" in result.detail


def test_the_tests_own_death_is_no_wrong_answer_before_the_program_was_heard(box: Sandbox) -> None:
    result = run(box, "result = values + 1", context(made_elsewhere="os._exit(3)"))
    assert result.status == "infra_error"
    assert "the test's own process failed" in result.detail


def test_the_tests_death_on_a_result_is_the_results_doing(box: Sandbox) -> None:
    result = run(box, "result = values + 1", context(test="os._exit(3)"))
    assert result.status == "failed"
    assert "could not be finished on what the program returned" in result.detail


@pytest.mark.parametrize(
    ("answer", "test", "solution"),
    [
        ("np.float64(3)", CLOSE, "result = np.array([])"),
        ("np.array([1.0, 2.0])", CLOSE, "result = np.empty((0, 2))"),
        ("np.array([1.0, 2.0])", EQUAL, "result = np.ma.masked_all(2)"),
        ("np.array([1.0, 2.0])", EQUAL, "result = np.ma.masked"),
        ("[np.array([1]), np.array([2])]", "for x, y in zip(result, ans): assert x == y", "result = []"),
        ("[np.array([1]), np.array([2])]", "for x, y in zip(result, ans): assert x == y", "result = [np.array([1])]"),
        ("(3.0, 4.0)", "assert np.allclose(result[0], ans[0])", "result = ([], 4.0)"),
        ("values > 0", "assert (result == ans).all()", "result = np.array([])"),
    ],
)
def test_comparisons_that_compare_nothing_pass_nobody(box: Sandbox, answer: str, test: str, solution: str) -> None:
    assert run(box, solution, context(answer, test)).status == "failed"
    honest = answer.replace("numbers", "list(numbers)")
    assert run(box, f"result = {honest}", context(answer, test)).status == "passed"


def test_an_empty_result_passes_where_one_is_expected(box: Sandbox) -> None:
    assert run(box, "result = np.array([])", context("np.array([])")).status == "passed"


def test_identity_crosses(box: Sandbox) -> None:
    text = context("None", "assert result[0] is not result[1]")
    assert run(box, "result = [values, values]", text).status == "failed"
    assert run(box, "result = [values, values.copy()]", text).status == "passed"


def test_the_programs_side_holds_nothing_of_the_test(box: Sandbox) -> None:
    look = """
import gc, sys
found = []
frame = sys._getframe()
while frame is not None:
    found += [name for name in (*frame.f_locals, *frame.f_globals)]
    frame = frame.f_back
found += [getattr(held, "__name__", "") for held in gc.get_objects()]
words = ("generate_ans", "exec_test", "test_execution", "expected_result", "generate_test_case")
result = values + 1 if any(word in found for word in words) else "nothing"
"""
    assert "got 'nothing'" in run(box, look).detail


def test_the_two_sides_draw_different_numbers_and_the_same_ones_each_time(box: Sandbox) -> None:
    drawn = context("np.random.rand()", "assert result == ans")
    first, second = run(box, "result = np.random.rand()", drawn), run(box, "result = np.random.rand()", drawn)
    assert first.status == "failed"
    assert first.detail == second.detail


TAIL = "result = None\nassert double(4) == 8\nassert double == kept[0]\n"


@pytest.mark.parametrize(
    ("solution", "status"),
    [
        ("def double(n): return 2 * n\nkept = [double]", "passed"),
        ("def double(n): return 3 * n\nkept = [double]", "failed"),
        ("def double(n): return 2 * n\nkept = [len]", "failed"),
        ("def double(n): return 2 * n", "failed"),
        (
            "class Equal:\n    def __eq__(self, other): return True\n    def __call__(self, n): return Equal()\n"
            "double = Equal()\nkept = [Equal()]",
            "failed",
        ),
    ],
)
def test_assertions_of_a_context_are_the_tests(box: Sandbox, solution: str, status: str) -> None:
    text = context("None", "pass", TAIL)
    assert run(box, solution, text, proxied=True, tail=True).status == status


OPTIMIZER = (
    "assert result.defaults == {'lr': 0.1}\n    assert result.groups[0]['lr'] == 0.5\n    assert len(result.groups) == 1"
)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ("defaults = {'lr': 0.1}\n    groups = [{'lr': 0.5}]", "passed"),
        ("defaults = {'lr': 0.1}\n    groups = [{'lr': 0.1}]", "failed"),
        ("groups = [{'lr': 0.5}]", "failed"),
        ("defaults = type('E', (dict,), {'__eq__': lambda self, other: True})()\n    groups = [{'lr': 0.5}]", "failed"),
        ("def __getattr__(self, name): return Held()", "failed"),
    ],
)
def test_an_object_is_asked_about_where_the_test_asks_for_one(box: Sandbox, lines: str, status: str) -> None:
    solution = f"class Held:\n    {lines}\nresult = Held()"
    assert run(box, solution, context("None", OPTIMIZER), proxied=True).status == status
    assert run(box, solution, context("None", OPTIMIZER)).status == "failed", "only there"


def test_a_reply_in_the_tests_own_words_is_taken_for_a_result(box: Sandbox) -> None:
    forged = """
import marshal, os, struct
payload = b"v" + marshal.dumps(("done", "passed", ""), 2)
os.write(3, struct.pack(">I", len(payload)) + payload)
os._exit(0)
"""
    result = run(box, forged)
    assert result.status == "failed"
