"""What of each benchmark's problems a training row must not hold: prompts, solutions and tests."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evolcoder.problems.files import benchmark_rows


@dataclass(frozen=True, slots=True)
class ProblemText:
    """One problem of one benchmark.

    ``statement`` is the task in prose, ``prompt`` what a model is shown, ``solutions`` whole programs that solve it.
    """

    benchmark: str
    task_id: str
    statement: str
    prompt: str
    solutions: tuple[str, ...]
    tests: str
    entry_point: str = ""


def read_problems(names: Sequence[str]) -> list[ProblemText]:
    """The problems of these benchmarks, in the order of the names and of their ids, whatever that of the files.

    Raises:
        DataError: the data of one of them is not there.
    """
    problems = [_READERS[name](name, row) for name in names for row in benchmark_rows(name)]
    return sorted(problems, key=lambda problem: (names.index(problem.benchmark), problem.task_id))


def _function_problem(name: str, row: Mapping[str, Any]) -> ProblemText:
    """HumanEval: a prompt to complete. HumanEval+ has the same fields."""
    prompt, entry_point = row["prompt"], row["entry_point"]
    return ProblemText(
        benchmark=name,
        task_id=str(row["task_id"]),
        statement="\n".join(_docstrings(prompt)) or prompt,
        prompt=prompt,
        solutions=(prompt + row["canonical_solution"],),
        tests=row["test"].replace("candidate(", f"{entry_point}("),
        entry_point=entry_point,
    )


def _mbpp_problem(name: str, row: Mapping[str, Any]) -> ProblemText:
    tests = [*row["test_list"], *row["challenge_test_list"]]
    code = row["code"].replace("\r\n", "\n")
    return ProblemText(
        benchmark=name,
        task_id=f"Mbpp/{row['task_id']}",
        statement=row["text"],
        prompt=row["text"],
        solutions=(code,),
        tests="\n".join(tests),
        entry_point=entry_point(code, row["test_list"]),
    )


def entry_point(code: str, tests: Sequence[str]) -> str:
    """The function of MBPP's reference that the assertions call; the last one defined when they call several."""
    called = {
        node.func.id
        for test in tests
        for node in ast.walk(_parsed(test.strip()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    return [node.name for node in _parsed(code).body if isinstance(node, ast.FunctionDef) and node.name in called][-1]


def _docstrings(source: str) -> list[str]:
    """The first bare string of each function as it is written, escapes and all, without its quotes.

    It need not be the first statement: HumanEval/115 imports a module before it.
    """
    found = []
    for function in (node for node in ast.walk(_parsed(source)) if isinstance(node, ast.FunctionDef)):
        values = (node.value for node in function.body if isinstance(node, ast.Expr))
        strings = (value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str))
        if (first := next(strings, None)) is not None:
            found.append((ast.get_source_segment(source, first) or "").lstrip("rRuU").strip("\"'"))
    return found


def _parsed(source: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some tasks hold odd escapes in their strings
        return ast.parse(source)


def _mbpp_plus_problem(name: str, row: Mapping[str, Any]) -> ProblemText:
    statement = row["prompt"].strip().strip('"').strip("'").strip()
    return ProblemText(
        benchmark=name,
        task_id=str(row["task_id"]),
        statement=statement,
        prompt=statement,
        solutions=(row["canonical_solution"],),
        tests=row["assertion"],
        entry_point=row["entry_point"],
    )


def _ds1000_problem(name: str, row: Mapping[str, Any]) -> ProblemText:
    statement = row["prompt"].partition("\nA:\n")[0].removeprefix("Problem:")
    return ProblemText(
        benchmark=name,
        task_id=f"DS1000/{row['metadata']['problem_id']}",
        statement=statement,
        prompt=row["prompt"],
        solutions=(row["reference_code"],),
        tests=row["code_context"],
    )


_READERS: dict[str, Callable[[str, Mapping[str, Any]], ProblemText]] = {
    "humaneval": _function_problem,
    "humaneval+": _function_problem,
    "mbpp": _mbpp_problem,
    "mbpp+": _mbpp_plus_problem,
    "ds1000": _ds1000_problem,
}

COMPARABLE = tuple(_READERS)
"""The benchmarks that rows can be compared with. MBPP+ is its v0.1.0, which holds every task of v0.2.0."""
