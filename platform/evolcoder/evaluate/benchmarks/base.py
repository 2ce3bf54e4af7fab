"""What a benchmark is: its problems, how an answer becomes a program, and the trusted test of a running program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from evolcoder.sandbox.program import Program


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem. ``test`` and ``canonical_solution`` never enter a box with a model's program."""

    task_id: str
    prompt: str
    entry_point: str
    canonical_solution: str
    test: str


class Benchmark(Protocol):
    """One module, one class. ``version`` says which data, to the byte."""

    name: str
    version: str

    def problems(self) -> list[Problem]:
        """All problems in the benchmark's own order.

        Raises:
            DataError: the data is missing or is not the version that is scored here.
        """

    def program(self, problem: Problem, code: str) -> str:
        """The whole program for code that completes or repeats the problem's function."""

    def check(self, problem: Problem, program: Program) -> None:
        """Test a loaded program; runs on the trusted side.

        Raises:
            AssertionError: a wrong result.
            Exception: whatever else the test stumbles over: wrong all the same.
        """
