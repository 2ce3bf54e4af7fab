"""Programs from a file instead of a model: JSONL with ``task_id`` and one of ``answer``, ``completion`` or ``solution``.

``answer`` is a model's raw text, from which the code is extracted; ``completion`` is code that goes on from the prompt or
repeats the function; ``solution`` is a whole program. A task may have several lines: its samples, in the file's order.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any, get_args

from evolcoder.errors import DataError
from evolcoder.evaluate.benchmarks.base import Benchmark
from evolcoder.records import AnswerKind, Completion

_KINDS: tuple[AnswerKind, ...] = get_args(AnswerKind)


def read_samples(path: Path, benchmark: Benchmark) -> list[Completion]:
    """Each line as what a model said.

    Raises:
        DataError: the file is missing or empty, or a line is wrong; the message names the line.
    """
    task_ids = {problem.task_id for problem in benchmark.problems()}
    seen: Counter[str] = Counter()
    completions = []
    for where, row in _rows(path):
        task_id, kind, text = _checked(where, row, task_ids, benchmark)
        completions.append(Completion(task_id, seen[task_id], "", text, "", 0, 0, kind))
        seen[task_id] += 1
    if not completions:
        raise DataError(f"{path} holds no samples; each line is JSON with task_id and one of {', '.join(_KINDS)}.")
    return completions


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                where = f"Line {number} of {path}"
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise DataError(f"{where} is not JSON: {error}") from None
                yield where, row
    except FileNotFoundError:
        raise DataError(f"There is no file {path}; name a JSONL file of samples.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 lines: {error}") from None


def _checked(where: str, row: Any, task_ids: Set[str], benchmark: Benchmark) -> tuple[str, AnswerKind, str]:
    # The type itself: an `isinstance` of int would take true for a task.
    if not isinstance(row, dict) or type(row.get("task_id")) not in (str, int):
        raise DataError(f"{where} must be a JSON object with a string task_id.")
    task_id = benchmark.task_id(str(row["task_id"]))
    if task_id not in task_ids:
        raise DataError(f"{where} names the task {row['task_id']!r}, which {benchmark.name} does not have.")
    kinds = [kind for kind in _KINDS if kind in row]
    if len(kinds) != 1 or not isinstance(row[kinds[0]], str):
        raise DataError(f"{where} must have exactly one of {', '.join(_KINDS)}, and it must be a string.")
    return task_id, kinds[0], row[kinds[0]]
