"""Reads the rows of the benchmarks' data: one value for each problem, for evaluation and for decontamination.

What is in a row that only its own benchmark understands (inputs, set-up, labels) is passed on as it is.
"""

from __future__ import annotations

import ast
import pkgutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evolcoder.benchmark_table import BENCHMARKS
from evolcoder.problems.files import benchmark_rows


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """One problem of one benchmark.

    ``statement`` is the task in prose, ``prompt`` what a model is shown, ``solutions`` whole programs that solve it, ``tests``
    assertions as a program would hold them: training rows are compared with these. ``entry_point`` is the function that is
    asked for, if any. ``fields`` is the row itself.
    """

    benchmark: str
    task_id: str
    statement: str
    prompt: str
    solutions: tuple[str, ...]
    tests: str
    entry_point: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)


def problem_rows(benchmark: str, file: str | None = None) -> Iterator[ProblemRow]:
    """The problems of a benchmark that has a ``row_reader``, in the order of its file. ``file`` names another version's.

    Raises:
        DataError: the data is not there, or is none that is known.
    """
    read = pkgutil.resolve_name(BENCHMARKS[benchmark].row_reader)
    for row in benchmark_rows(file or benchmark):
        yield read(benchmark, row)


def read_problems(names: Sequence[str]) -> list[ProblemRow]:
    """The problems of these benchmarks, in the order of the names and of their ids, whatever that of the files.

    Raises:
        DataError: the data of one of them is not there.
    """
    problems = [problem for name in names for problem in problem_rows(name)]
    return sorted(problems, key=lambda problem: (names.index(problem.benchmark), problem.task_id))


def humaneval_row(benchmark: str, row: Mapping[str, Any]) -> ProblemRow:
    """HumanEval: a prompt to complete. HumanEval+ has the same fields."""
    prompt, entry_point = row["prompt"], row["entry_point"]
    return ProblemRow(
        benchmark=benchmark,
        task_id=row["task_id"],
        statement="\n".join(_docstrings(prompt)) or prompt,
        prompt=prompt,
        solutions=(prompt + row["canonical_solution"],),
        # Its tests call the function ``candidate``; a training row would call it by its name.
        tests=row["test"].replace("candidate(", f"{entry_point}("),
        entry_point=entry_point,
        fields=row,
    )


def mbpp_row(benchmark: str, row: Mapping[str, Any]) -> ProblemRow:
    """MBPP: a task in words, which is the prompt too. Some references have line ends of Windows."""
    code = row["code"].replace("\r\n", "\n")
    return ProblemRow(
        benchmark=benchmark,
        task_id=f"Mbpp/{row['task_id']}",
        statement=row["text"],
        prompt=row["text"],
        solutions=(code,),
        tests="\n".join([*row["test_list"], *row["challenge_test_list"]]),
        entry_point=entry_point(code, row["test_list"]),
        fields=row,
    )


def mbpp_plus_row(benchmark: str, row: Mapping[str, Any]) -> ProblemRow:
    """MBPP+: the prompt is a docstring, quotes and all. Version 0.2.0 has its assertion in there."""
    statement = row["prompt"].strip().strip('"').strip("'").strip()
    return ProblemRow(
        benchmark=benchmark,
        task_id=row["task_id"],
        statement=statement,
        prompt=statement,
        solutions=(row["canonical_solution"],),
        tests=row.get("assertion", ""),
        entry_point=row["entry_point"],
        fields=row,
    )


def ds1000_row(benchmark: str, row: Mapping[str, Any]) -> ProblemRow:
    """DS-1000: no function is asked for. Matplotlib's problems are code all over; the others have an answer to be completed."""
    return ProblemRow(
        benchmark=benchmark,
        task_id=f"DS1000/{row['metadata']['problem_id']}",
        statement=row["prompt"].partition("\nA:\n")[0].removeprefix("Problem:"),
        prompt=row["prompt"],
        solutions=(row["reference_code"],),
        tests=row["code_context"],
        fields=row,
    )


def entry_point(code: str, tests: Sequence[str]) -> str:
    """The function of MBPP's reference that the assertions call; the last one defined when they call several."""
    called = {
        node.func.id
        for test in tests
        for node in ast.walk(parse_quietly(test.strip()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    defined = [node.name for node in parse_quietly(code).body if isinstance(node, ast.FunctionDef)]
    return [name for name in defined if name in called][-1]


def _docstrings(source: str) -> list[str]:
    """The first bare string of each function as it is written, escapes and all, without its quotes.

    It need not be the first statement: HumanEval/115 imports a module before it.
    """
    found = []
    for function in (node for node in ast.walk(parse_quietly(source)) if isinstance(node, ast.FunctionDef)):
        values = (node.value for node in function.body if isinstance(node, ast.Expr))
        strings = (value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str))
        if (first := next(strings, None)) is not None:
            found.append((ast.get_source_segment(source, first) or "").lstrip("rRuU").strip("\"'"))
    return found


def parse_quietly(source: str) -> ast.Module:
    """The tree of a benchmark's own code, some of which has invalid escapes in its strings: Python would warn of each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)
