from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evolcoder.evaluate.benchmarks import benchmark_named
from evolcoder.evaluate.benchmarks.base import Problem
from evolcoder.evaluate.judge import Job, Submission, judge
from evolcoder.records import Verdict
from evolcoder.sandbox.box import BoxSettings, Sandbox


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(BoxSettings()) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def problems(data_folder: Path) -> dict[str, Problem]:
    return {p.task_id: p for name in ("mbpp", "mbpp-dev") for p in benchmark_named(name).problems()}


def verdict(box: Sandbox, problem: Problem, code: str) -> Verdict:
    return judge(box, Job(benchmark_named("mbpp"), problem, 0, Submission("completion", code)))


def test_the_splits(data_folder: Path) -> None:
    test, development = (
        [int(p.task_id.removeprefix("Mbpp/")) for p in benchmark_named(name).problems()] for name in ("mbpp", "mbpp-dev")
    )
    assert test == list(range(11, 511))
    assert development == [1, *range(5, 11), *range(511, 975)], "without the three that few-shot prompts show"


def test_wrong_results_name_the_assertion(box: Sandbox, problems: dict[str, Problem]) -> None:
    found = verdict(box, problems["Mbpp/16"], "def text_lowercase_underscore(text):\n    return 'Found a match!'\n")
    assert found.status == "failed"
    assert found.detail.startswith("assert text_lowercase_underscore(\"aab_Abbbc\")==('Not matched!')")
    assert (found.base, found.plus) == ("failed", None)


@pytest.mark.parametrize("task", ["Mbpp/367", "Mbpp/601", "Mbpp/927", "Mbpp/533"])
def test_arguments_that_only_the_program_can_make(box: Sandbox, problems: dict[str, Problem], task: str) -> None:
    """Trees of the program's own class, and a type: the reference passes, and a constant does not."""
    problem = problems[task]
    assert verdict(box, problem, problem.canonical_solution).status == "passed"
    whole = Submission("solution", problem.canonical_solution)
    assert judge(box, Job(benchmark_named("mbpp"), problem, 0, whole)).status == "passed", "the set-up belongs to the test"
    constant = f"{problem.canonical_solution}\ndef {problem.entry_point}(*a):\n    return 3\n"
    assert verdict(box, problem, constant).status == "failed"
    assert verdict(box, problem, f"def {problem.entry_point}(*a):\n    return 3\n").status == "failed"


def test_expected_values_do_not_reach_the_program(box: Sandbox, problems: dict[str, Problem]) -> None:
    """What the program is told of a test is the call alone."""
    problem = problems["Mbpp/367"]
    spy = (
        f"{problem.canonical_solution}\nimport sys\nright = {problem.entry_point}\n"
        f"def {problem.entry_point}(root):\n    f = sys._getframe()\n    told = []\n"
        "    while f:\n        told += [str(v) for v in f.f_locals.values() if isinstance(v, (str, bytes))]\n"
        "        f = f.f_back\n"
        "    assert not any('== False' in t or '==False' in t for t in told)\n    return right(root)\n"
    )
    assert verdict(box, problem, spy).status == "passed"


def test_a_function_named_like_a_builtin(box: Sandbox, problems: dict[str, Problem]) -> None:
    problem = problems["Mbpp/126"]
    assert problem.entry_point == "sum"
    assert verdict(box, problem, problem.canonical_solution).status == "passed"
    assert verdict(box, problem, "x = 1\n").status == "failed"
