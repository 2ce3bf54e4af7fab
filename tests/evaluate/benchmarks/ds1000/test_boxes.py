"""DS-1000 programs and their tests in two boxes: right ones pass, wrong ones fail, and none that cheats passes.

These tests need the environment that ``evolcoder data ds1000-env`` builds; without it they are skipped, and say so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from evolcoder.errors import DataError
from evolcoder.evaluate.benchmarks import benchmark_named
from evolcoder.evaluate.benchmarks.base import Problem
from evolcoder.evaluate.benchmarks.ds1000.environment import BUILD_COMMAND, interpreter_for
from evolcoder.evaluate.judge import Job, Submission, judge
from evolcoder.records import Verdict
from evolcoder.sandbox.box import BoxSettings, Sandbox
from evolcoder.sandbox.isolation import ResourceLimits


def _is_built() -> bool:
    try:
        interpreter_for("Numpy")
    except DataError:
        return False
    return True


def _number(path: Path) -> int:
    return int(path.read_text("utf-8").split("\n")[0].removeprefix("# DS1000/"))


pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not _is_built(), reason=f"DS-1000's environment is not built here: run `{BUILD_COMMAND}`"),
]

DS1000 = benchmark_named("ds1000")
SPREAD = (
    *(0, 4, 39, 112, 121, 188, 206, 264, 286),  # tables, indexes, text, lists, dates
    *(291, 308, 367, 376, 377, 380, 404),  # arrays, identity, objects, tensors of both kinds, records
    *(511, 524, 539, 566, 601, 648, 665),  # figures, results of both kinds, data of seaborn's
    *(666, 675, 701, 706),  # variables, tensors, numbers, files
    *(711, 722, 741, 777, 800),  # numbers, sparse matrices, tables
    *(817, 837, 852, 862, 893, 908, 930),  # tables, functions, clusters, files
    *(932, 936, 954, 986, 993),  # optimizers, tensors, lists of them, files
)
HOSTILE = sorted((Path(__file__).parent / "hostile").glob("*.py"), key=lambda path: (_number(path), path.stem))
TIMEOUTS = {"sleeps", "spins", "spins_when_described"}
LIMITED = {"deep_recursion", "memory_flood", "memory_flood_by_numpy"}
"""They meet the limit on memory or on time, whichever comes first on this machine."""

Run = Callable[[int, str], Verdict]


@lru_cache(maxsize=1)
def _problems() -> dict[int, Problem]:
    return {problem.material: problem for problem in DS1000.problems()}


def problem_of(number: int) -> Problem:
    return _problems()[number]


@pytest.fixture(scope="module")
def run(data_folder: Path) -> Iterator[Run]:
    """Judges a solution of a problem; the box of a library stays until another is asked for."""
    boxes: dict[BoxSettings, Sandbox] = {}

    def judged(number: int, solution: str, seconds: float = 120.0) -> Verdict:
        problem = problem_of(number)
        settings = DS1000.box(problem, BoxSettings(limits=DS1000.program_limits(ResourceLimits(task_cpu_seconds=seconds))))
        if settings not in boxes:
            while boxes:
                boxes.popitem()[1].close()
            boxes[settings] = Sandbox(settings)
        return judge(boxes[settings], Job(benchmark_named("ds1000"), problem, 0, Submission("solution", solution)))

    yield judged
    while boxes:
        boxes.popitem()[1].close()


@pytest.mark.parametrize("number", SPREAD)
def test_a_reference_passes_and_nothing_in_its_place_does_not(run: Run, number: int) -> None:
    verdict = run(number, problem_of(number).canonical_solution)
    assert (verdict.status, verdict.detail) == ("passed", "")
    if problem_of(number).groups["library"] != "Matplotlib":  # some tests of figures pass an empty one, as they always did
        assert run(number, "pass").status == "failed"


def test_the_spread_has_every_library(data_folder: Path) -> None:
    counts = Counter(problem_of(number).groups["library"] for number in SPREAD)
    assert len(counts) == 7
    assert min(counts.values()) >= 4


def test_data_that_must_be_downloaded_is_no_wrong_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVOLCODER_DATA", raising=False)
    verdict = run(819, problem_of(819).canonical_solution)
    assert verdict.status == "infra_error"
    assert "the test cannot be run here" in verdict.detail


def test_a_wrong_result_says_what_came_and_what_was_expected(run: Run) -> None:
    verdict = run(291, "result = (1, 2, 3)")
    assert verdict.status == "failed"
    assert "got (1, 2, 3), expected (2, 2)" in verdict.detail


def test_what_the_program_raises_is_told(run: Run) -> None:
    assert run(291, "raise ValueError('no')").detail == "ValueError: no"


@pytest.mark.parametrize(
    ("before", "detail"),
    [
        ("def g(a: Missing): pass", "NameError: name 'Missing' is not defined"),
        ("x: Missing = 1", "NameError: name 'Missing' is not defined"),
        ("import sys\nassert not [n for n in sys.modules if 'evolcoder' in n or n in ('codec', 'confine')]", ""),
        ("import sys, __main__\nassert sys.argv == ['program.py'] and not hasattr(__main__, 'codec')", ""),
        ("assert __name__ == 'builtins' and set(globals()) <= {'test_input', '__builtins__', 'np', 'a', 'g', 'result'}", ""),
        ("import os\nassert os.listdir('.') == [] and callable(exit)", ""),
    ],
)
def test_a_program_finds_nothing_of_the_evaluators(run: Run, before: str, detail: str) -> None:
    verdict = run(291, f"{before}\n{problem_of(291).canonical_solution}")
    assert (verdict.status, verdict.detail) == (("failed", detail) if detail else ("passed", ""))


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.stem)
def test_no_hostile_program_passes(run: Callable[..., Verdict], path: Path) -> None:
    number = _number(path)
    verdict = run(number, path.read_text("utf-8"), 4.0)
    expected = {"timeout"} if path.stem in TIMEOUTS else {"memory", "timeout", "failed"} if path.stem in LIMITED else {"failed"}
    assert verdict.status in expected, verdict.detail
    again = run(number, problem_of(number).canonical_solution, 4.0)
    assert again.status == "passed", f"it left something behind: {again.detail}"


def test_a_canary_of_each_kind(run: Run) -> None:
    """The corpus means something only if its problems tell right from wrong."""
    for number in sorted({_number(path) for path in HOSTILE}):
        assert isinstance(problem_of(number), Problem)
        assert run(number, problem_of(number).canonical_solution).status == "passed"
        assert run(number, "result = df = a = optim = tfidf = preprocess = 'wrong'").status == "failed"
