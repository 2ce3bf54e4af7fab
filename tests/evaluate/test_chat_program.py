"""The extraction of chat models' answers: two hundred shapes, right programs and wrong ones in each, and the single rules."""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluate.answer_shapes import FENCE, SHAPES, Solution, fenced

from evolcoder.evaluate.benchmarks.base import Problem
from evolcoder.evaluate.benchmarks.humaneval import HumanEval
from evolcoder.evaluate.chat_program import program_in
from evolcoder.evaluate.extraction import extract
from evolcoder.evaluate.fences import fenced_blocks

PROBLEMS = HumanEval().problems()[::20]


def solution(problem: Problem) -> Solution:
    return Solution(problem.prompt, problem.canonical_solution, problem.entry_point)


def mutant(problem: Problem) -> Solution:
    """The reference with other results: as fast, and wrong."""
    body = re.sub(r"return (.+)$", r"return (\1, 'and more')", problem.canonical_solution, flags=re.MULTILINE)
    return Solution(problem.prompt, body, problem.entry_point)


def passes(problem: Problem, program: str) -> bool:
    """Whether a program made of a reference passes; such a program needs no sandbox."""
    names: dict[str, Any] = {}
    test: dict[str, Any] = {}
    try:
        exec(compile(program, "program", "exec", dont_inherit=True), names)
        exec(compile(problem.prompt, "prompt", "exec", dont_inherit=True), test)
        test[problem.entry_point] = names[problem.entry_point]
        exec(compile(problem.test, "test", "exec", dont_inherit=True), test)
        random.seed(problem.task_id)
        test["check"](names[problem.entry_point])
    except (Exception, SystemExit):  # noqa: BLE001 - a wrong program may raise anything
        return False
    return True


def verdict(problem: Problem, answer: str, extraction: Any = "chat") -> bool:
    code = extract(extraction, answer, (), problem.entry_point)
    return code is not None and passes(problem, HumanEval().program(problem, code))


def test_there_are_two_hundred_shapes() -> None:
    assert len(SHAPES) >= 200
    answers = Counter(shape(solution(PROBLEMS[0])) for shape in SHAPES.values())
    assert len(answers) > 195, "hardly one says what another says"


def test_right_answers_pass_in_every_shape_and_wrong_ones_in_none() -> None:
    failed = []
    for problem in PROBLEMS:
        assert passes(problem, problem.prompt + problem.canonical_solution)
        wrong = mutant(problem)
        assert not passes(problem, wrong.whole)
        for name, shape in SHAPES.items():
            if not verdict(problem, shape(solution(problem))):
                failed.append((name, problem.task_id))
            assert not verdict(problem, shape(wrong)), f"{name}: a wrong program passes as {problem.task_id}"
    assert failed == []


@pytest.mark.parametrize("extraction", ["none", "wizardcoder", "sanitize"])
def test_it_loses_no_program_that_another_extraction_finds(extraction: str) -> None:
    problem = PROBLEMS[1]
    lost = [
        name
        for name, shape in SHAPES.items()
        if verdict(problem, shape(solution(problem)), extraction) and not verdict(problem, shape(solution(problem)))
    ]
    assert lost == []


@pytest.mark.long
def test_every_problem_in_every_shape() -> None:
    problems = HumanEval().problems()
    failed = [
        (name, problem.task_id)
        for problem in problems
        for name, shape in SHAPES.items()
        if not verdict(problem, shape(solution(problem)))
    ]
    assert len(failed) <= 0.01 * len(problems) * len(SHAPES), failed


ADD = "def add(x, y):\n    return x + y\n"
SUB = "def add(x, y):\n    return x - y\n"
DOTS = "def add(x, y):\n    ..."
RAISES = "def add(x, y):\n    raise NotImplementedError"
PLUS = "def plus(a, b):\n    return a + b\n"
CALLS = "def add(x, y):\n    return plus(x, y)\n"
TYPED = "def add(x: X, y):\n    return x\n"
END = "    return 1\n    ### END SOLUTION"


@pytest.mark.parametrize(
    ("answer", "program"),
    [
        (f"{fenced(SUB)}\nNo:\n{fenced(ADD)}", ADD),
        (fenced(DOTS) + fenced(ADD) + fenced(RAISES), ADD),
        (fenced(ADD) + fenced('def add(x, y):\n    import math\n    """Add."""\n    pass'), ADD),
        (f"\ufeff~~~\n{ADD}~~~\n", ADD),
        (fenced("# only a comment") + fenced(ADD), ADD),
        (fenced(ADD) + "If you want the difference:\n" + fenced(SUB), ADD),
        (fenced(ADD) + "\nThis works.\n\n**Alternative**\n" + fenced("x = 1") + fenced(SUB), ADD),
        (fenced(SUB) + "\nThat's wrong, you would also notice if you want sums. Corrected:\n" + fenced(ADD), ADD),
        (fenced(SUB) + "\nPut together:\n" + fenced(ADD), ADD),
        (fenced("import math\n\nLIMIT = math.pi\n\n\n" + ADD), "import math\n\nLIMIT = math.pi\n\n\n" + ADD),
        (fenced(PLUS) + fenced("x = 3") + fenced(CALLS), PLUS + CALLS),
        (fenced(CALLS) + fenced(PLUS), PLUS + CALLS),
        (fenced("from __future__ import annotations") + fenced(TYPED) + fenced("X = int"), "X = int\n" + TYPED),
        (fenced("add = lambda x, y: x + y"), "add = lambda x, y: x + y\n"),
        (fenced(f"{ADD}print(add(1, 2))\nassert add(1, 2) == 4\nprint('loaded')"), f"{ADD}print('loaded')\n"),
        (fenced(f"n = int(input())\nm = n + 1\n{ADD}add(n, m)"), ADD),
        ("    return x + y\n", "    return x + y\n"),
        (fenced("return x + y"), "    return x + y\n"),
    ],
)  # fmt: skip
def test_what_is_taken(answer: str, program: str) -> None:
    assert program_in(answer, "add") == program


@pytest.mark.parametrize(
    "answer", ["", "I cannot do that.", fenced("pip install add", "bash"), fenced("def sub(x):\n    pass")]
)
def test_no_program(answer: str) -> None:
    assert program_in(answer, "add") is None


def test_of_thinking_that_was_cut_off_only_a_whole_function_is_taken() -> None:
    assert extract("chat", f"<think>\nSo {fenced(ADD)}", entry_point="add") == ADD
    assert extract("chat", "<think>\nSo I would write def add(x, y)", entry_point="add") is None


def test_own_marks_of_thinking() -> None:
    answer = f"{fenced(ADD)}<plan>\n{fenced(SUB)}</plan>\n"
    assert extract("chat", answer, entry_point="add") == SUB
    assert extract("chat", answer, entry_point="add", thinking_marks=[("<plan>", "</plan>")]) == ADD


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (fenced("df = 1") + "Output:\n" + fenced("   A  B", ""), "df = 1\n"),
        (fenced("pip install pandas", "bash") + fenced("result = df"), "result = df\n"),
        (fenced("import numpy as np") + fenced("result = np.ones(3)"), "import numpy as np\n\nresult = np.ones(3)\n"),
        ("<think>\nresult = 3\n</think>\nresult = 4\n</code>", "result = 4\n"),
        (fenced(END), "    return 1\n"),
    ],
)
def test_where_no_function_is_asked_for(answer: str, code: str) -> None:
    assert extract("chat", answer) == code


def test_blocks() -> None:
    blocks = fenced_blocks(
        f"a\n{fenced('x', 'Python title=1')}> {FENCE}\n> y\n> {FENCE}\nb {FENCE}py\nz{FENCE}\n~~~sh\n{FENCE}\n~~~"
    )
    assert [(block.language, block.code, block.is_python) for block in blocks] == [
        ("python", "x\n", True), ("", "y\n", False), ("py", "z\n", True), ("sh", f"{FENCE}\n", False),
    ]  # fmt: skip


PIECES = st.sampled_from(
    [
        "```",
        "```python\n",
        "~~~\n",
        "\n",
        "\t",
        "    ",
        ADD,
        "def add(",
        '"""',
        "'''",
        "> ",
        "1. ",
        "<think>",
        "</think>",
        "return x",
        '{"code": "',
        "\\",
        "\r",
        "\0",
        "\ud800",
        "\u2028",
        "\f",
        ">>> ",
        "nonlocal x\n",
        "x = 1\n",
        "@",
        "class add:\n",
        "from __future__ import annotations\n",
    ]
)


@hypothesis.settings(max_examples=300)
@given(st.lists(PIECES | st.text(max_size=8), max_size=25).map("".join), st.sampled_from(["add", ""]))
def test_no_text_breaks_it(answer: str, entry_point: str) -> None:
    code = extract("chat", answer, entry_point=entry_point)
    assert code is None or code.strip()


@pytest.mark.parametrize(
    "answer", [" " * 200_000, ">" * 100_000, "`" * 100_000, "<think>" * 5_000, "x = 1\n" * 10_000, "```\n'''\n" * 2_000]
)
def test_texts_without_end_come_to_one(answer: str) -> None:
    """A rule that takes the square of an answer's length would run into the limit on the test's time."""
    extract("chat", answer, entry_point="add")
