"""Programs from a file instead of a model: JSONL with ``task_id`` and one of ``answer``, ``completion`` or ``solution``.

``answer`` is a model's raw text, from which the code is extracted; ``completion`` is code that goes on from the prompt or
repeats the function; ``solution`` is a whole program. A task may have several lines: its samples, in the file's order.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evolcoder.errors import DataError
from evolcoder.evaluate.benchmarks.base import Benchmark, Problem
from evolcoder.evaluate.extraction import ExtractionId, extract
from evolcoder.evaluate.judge import Job
from evolcoder.evaluate.prompts import BASE_STOPS
from evolcoder.records import Completion

_KINDS = ("answer", "completion", "solution")


def read_samples(path: Path, benchmark: Benchmark, extraction: ExtractionId) -> tuple[list[Completion], list[Job]]:
    """Each line as what the model said and as the program to judge.

    Raises:
        DataError: the file is missing or empty, or a line is wrong; the message names the line.
    """
    problems = {problem.task_id: problem for problem in benchmark.problems()}
    seen: Counter[str] = Counter()
    completions, jobs = [], []
    for where, row in _rows(path):
        task_id, kind, text = _checked(where, row, problems, benchmark.name)
        problem, sample = problems[task_id], seen[task_id]
        seen[task_id] += 1
        completions.append(Completion(task_id, sample, "", text, "", 0, 0))
        jobs.append(Job(benchmark.name, problem, sample, _program(benchmark, problem, kind, text, extraction)))
    if not jobs:
        raise DataError(f"{path} holds no samples; each line is JSON with task_id and one of {', '.join(_KINDS)}.")
    return completions, jobs


def _program(benchmark: Benchmark, problem: Problem, kind: str, text: str, extraction: ExtractionId) -> str | None:
    if kind == "solution":
        return text
    code = extract(extraction, text, BASE_STOPS) if kind == "answer" else text
    return None if code is None else benchmark.program(problem, code)


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    where = f"Line {number} of {path}"
                    yield where, _parsed(where, line)
    except FileNotFoundError:
        raise DataError(f"There is no file {path}; name a JSONL file of samples.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 lines: {error}") from None


def _parsed(where: str, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} is not JSON: {error}") from None


def _checked(where: str, row: Any, problems: Mapping[str, Problem], benchmark: str) -> tuple[str, str, str]:
    if not isinstance(row, dict) or not isinstance(row.get("task_id"), str):
        raise DataError(f"{where} must be a JSON object with a string task_id.")
    if row["task_id"] not in problems:
        raise DataError(f"{where} names the task {row['task_id']!r}, which {benchmark} does not have.")
    kinds = [kind for kind in _KINDS if kind in row]
    if len(kinds) != 1 or not isinstance(row[kinds[0]], str):
        raise DataError(f"{where} must have exactly one of {', '.join(_KINDS)}, and it must be a string.")
    return row["task_id"], kinds[0], row[kinds[0]]
