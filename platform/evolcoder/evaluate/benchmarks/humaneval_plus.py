"""HumanEval+ : HumanEval's problems with about 80 times as many inputs. Data: evalplus/humanevalplus_release (Apache-2.0)."""

from __future__ import annotations

from typing import Any

from evolcoder.evaluate.benchmarks.base import PromptStyle
from evolcoder.evaluate.benchmarks.humaneval import COMPLETION_STYLES
from evolcoder.evaluate.benchmarks.plus import PlusBenchmark
from evolcoder.problems.rows import ProblemRow


class HumanEvalPlus(PlusBenchmark):
    name = "humaneval+"
    dataset = "humaneval"

    def inputs(self, row: ProblemRow, part: str) -> list[Any]:
        given: list[Any] = row.fields[f"{part}_input"]
        return given

    def styles(self) -> tuple[PromptStyle, ...]:
        return COMPLETION_STYLES
