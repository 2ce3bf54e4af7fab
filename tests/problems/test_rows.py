"""What is made of a row of each benchmark, by the smallest row that shows it."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from evolcoder.benchmark_table import comparable_benchmarks
from evolcoder.problems.rows import (
    ds1000_row,
    entry_point,
    humaneval_row,
    mbpp_plus_row,
    mbpp_row,
    parse_quietly,
    problem_rows,
    read_problems,
)


def test_a_prompt_with_a_docstring_is_stated_by_it_and_tested_by_its_name() -> None:
    prompt = 'import math\n\n\ndef f(x):\n    import re\n    """ Say \\n x. """\n'
    row = {"task_id": "HumanEval/0", "prompt": prompt, "entry_point": "f", "canonical_solution": "    return x\n"}
    row |= {"test": "def check(candidate):\n    assert candidate(1) == 1\n"}
    read = humaneval_row("humaneval", row)
    assert (read.statement, read.prompt) == (" Say \\n x. ", prompt)
    assert read.solutions == (f"{prompt}    return x\n",)
    assert read.tests == "def check(candidate):\n    assert f(1) == 1\n"
    assert read.fields["test"] == row["test"], "the row is passed on as it is"


def test_mbpp_has_its_id_line_ends_and_all_assertions_put_right() -> None:
    row = {"task_id": 7, "text": "Add.", "code": "def add(x, y):\r\n    return x + y", "test_list": ["assert add(1, 2) == 3"]}
    read = mbpp_row("mbpp", row | {"challenge_test_list": ["assert add(0, 0) == 0"]})
    assert (read.task_id, read.entry_point, read.prompt) == ("Mbpp/7", "add", "Add.")
    assert read.solutions == ("def add(x, y):\n    return x + y",)
    assert read.tests == "assert add(1, 2) == 3\nassert add(0, 0) == 0"


@pytest.mark.parametrize("assertion", [{"assertion": "assert f(1) == 2"}, {}])
def test_mbpp_plus_is_stated_without_its_quotes(assertion: dict[str, str]) -> None:
    row = {"task_id": "Mbpp/2", "prompt": '"""\nDouble it.\n"""\n', "entry_point": "f", "canonical_solution": "def f(x): ..."}
    read = mbpp_plus_row("mbpp+", row | assertion)
    assert (read.statement, read.tests) == ("Double it.", assertion.get("assertion", ""))
    assert read.fields["prompt"] == row["prompt"]


def test_ds1000_is_stated_without_its_answer_and_asks_for_no_function() -> None:
    row = {"prompt": "Problem:\nDouble x.\nA:\n<code>\n", "reference_code": "x *= 2", "code_context": "def test(): ..."}
    read = ds1000_row("ds1000", row | {"metadata": {"problem_id": 5}})
    assert (read.task_id, read.statement, read.entry_point) == ("DS1000/5", "\nDouble x.", "")


def test_the_entry_point_is_the_last_defined_of_those_that_are_called() -> None:
    code = "def key(x): return x\ndef best(xs): return max(xs, key=key)\ndef unused(): pass\n"
    assert entry_point(code, ["assert best([1, 2]) == 2", "assert key(1) == 1"]) == "best"
    assert entry_point(code, [" assert len(best([1])) == key(0)"]) == "best"


def test_odd_escapes_are_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse_quietly("pattern = '\\d'").body


def test_problems_come_in_the_order_of_names_and_ids(data_folder: Path) -> None:
    names = ["mbpp", "humaneval"]
    problems = read_problems(names)
    assert [problem.benchmark for problem in problems] == ["mbpp"] * 974 + ["humaneval"] * 164
    assert problems[974].task_id == "HumanEval/0"
    assert [row.task_id for row in problem_rows("humaneval")] == [f"HumanEval/{number}" for number in range(164)]


@pytest.mark.parametrize("name", comparable_benchmarks())
def test_every_problem_has_what_rows_are_compared_with(name: str, data_folder: Path) -> None:
    for row in problem_rows(name):
        assert row.task_id
        assert row.statement.strip()
        assert all(program.strip() for program in row.solutions)
        assert row.tests.strip()
