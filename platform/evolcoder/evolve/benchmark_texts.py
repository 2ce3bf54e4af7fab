"""What of each benchmark's problems a training row must not hold: prompts, solutions and tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evolcoder.benchmark_data import benchmark_rows
from evolcoder.evolve.canonical import docstrings, signatures


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
        statement="\n".join(docstrings(prompt)) or prompt,
        prompt=prompt,
        solutions=(prompt + row["canonical_solution"],),
        tests=row["test"].replace("candidate(", f"{entry_point}("),
        entry_point=entry_point,
    )


def _mbpp_problem(name: str, row: Mapping[str, Any]) -> ProblemText:
    tests = [*row["test_list"], *row["challenge_test_list"]]
    functions = [name for name, _ in signatures(row["code"])]
    return ProblemText(
        benchmark=name,
        task_id=f"Mbpp/{row['task_id']}",
        statement=row["text"],
        prompt=row["text"],
        solutions=(row["code"].replace("\r\n", "\n"),),
        tests="\n".join(tests),
        entry_point=next((function for function in functions if any(f"{function}(" in test for test in tests)), ""),
    )


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
        task_id=f"DS-1000/{row['metadata']['problem_id']}",
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
