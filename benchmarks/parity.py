"""The verdicts of this evaluator beside those of evalplus 0.3.1, on right programs and on wrong ones made from them.

    EVOLCODER_DATA=... python benchmarks/parity.py [MUTANTS_A_TASK]

Prints every difference with its reason where one is known, and exits with 1 when there is one that has none. Where evalplus
fails what passes here, it is asked again with more time and memory: it counts wall time, so that it fails more on a busy
machine.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.mutants import mutants
from evalplus.data.mbpp import mbpp_deserialize_inputs
from evalplus.eval import untrusted_check
from evalplus.eval._special_oracle import MBPP_OUTPUT_NOT_NONE_TASKS
from evalplus.gen.util import trusted_exec

from evolcoder.evaluate.benchmarks import benchmark_named
from evolcoder.evaluate.benchmarks.base import Problem
from evolcoder.evaluate.benchmarks.plus import LEAST_CALL_SECONDS
from evolcoder.evaluate.judge import Job, Submission, judge
from evolcoder.evaluate.measurement import box_settings
from evolcoder.problems.files import benchmark_rows
from evolcoder.sandbox.box import Sandbox
from evolcoder.settings.run import EvaluateSettings

FIND_ZERO = "evalplus's branch for find_zero skips the count of passed tests, so that nothing can pass"
IMPATIENT = "evalplus passes it too when given more time and memory"
PATIENT_SECONDS = 60.0
PATIENT_BYTES = 16 << 30


@dataclass(frozen=True)
class Difference:
    task_id: str
    ours: str
    theirs: str
    detail: str
    program: str
    reason: str


def compare(
    benchmark: str, mutants_a_task: int, every: int = 1, tasks: Collection[str] = ()
) -> tuple[int, Counter[str], list[Difference]]:
    """Judge references and mutants both ways: how many programs, our verdicts, the differences.

    Args:
        every: take every n-th task.
        tasks: only these; all when empty.
    """
    chosen = benchmark_named(benchmark)
    dataset = benchmark.removesuffix("+")
    rows = {row["task_id"]: row for row in benchmark_rows(chosen.file.name)}
    problems = [p for p in chosen.problems()[::every] if not tasks or p.task_id in tasks]
    statuses: Counter[str] = Counter()
    differences = []
    count = 0
    with Sandbox(box_settings(EvaluateSettings(), chosen)) as box:
        for problem in problems:
            programs = _programs(problem, mutants_a_task)
            theirs = _Theirs(dataset, rows[problem.task_id])
            for program in programs:
                verdict = judge(box, Job(chosen, problem, 0, Submission("solution", program)))
                other = theirs.verdict(program)
                statuses[verdict.status] += 1
                count += 1
                if (verdict.status == "passed") != (other == "pass"):
                    reason = _reason(problem.task_id, verdict.status, theirs, program)
                    differences.append(Difference(problem.task_id, verdict.status, other, verdict.detail, program, reason))
    return count, statuses, differences


def _reason(task_id: str, ours: str, theirs: _Theirs, program: str) -> str:
    if ours != "passed":
        return ""
    if task_id == "HumanEval/32":
        return FIND_ZERO
    return IMPATIENT if theirs.verdict(program, PATIENT_SECONDS, PATIENT_BYTES) == "pass" else ""


def _programs(problem: Problem, mutants_a_task: int) -> list[str]:
    right = problem.prompt + problem.canonical_solution
    return [right, *mutants(right, problem.entry_point, mutants_a_task, problem.task_id)]


class _Theirs:
    """evalplus's verdict on programs for one task."""

    def __init__(self, dataset: str, row: dict[str, Any]) -> None:
        self._dataset, self._row = dataset, row
        self._inputs = {part: self._restored(row[f"{part}_input"]) for part in ("base", "plus")}
        source = row["prompt"] + row["canonical_solution"]
        only_not_none = row["entry_point"] in MBPP_OUTPUT_NOT_NONE_TASKS
        self._expected = {
            part: trusted_exec(source, inputs, row["entry_point"], record_time=True, output_not_none=only_not_none)
            for part, inputs in self._inputs.items()
        }

    def verdict(self, program: str, least_call_seconds: float = LEAST_CALL_SECONDS, memory_bytes: int = 4 << 30) -> str:
        os.environ["EVALPLUS_MAX_MEMORY_BYTES"] = str(memory_bytes)
        for part, inputs in self._inputs.items():
            expected, seconds = self._expected[part]
            with _silence():
                status, _ = untrusted_check(
                    self._dataset, program, inputs, self._row["entry_point"], expected, self._row["atol"], seconds,
                    fast_check=True, min_time_limit=least_call_seconds,
                )  # fmt: skip
            if status != "pass":
                return str(status)
        return "pass"

    def _restored(self, inputs: Sequence[Any]) -> Sequence[Any]:
        return mbpp_deserialize_inputs(self._row["task_id"], inputs) if self._dataset == "mbpp" else inputs


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def main() -> None:
    mutants_a_task = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    unexplained = 0
    for benchmark in ("humaneval+", "mbpp+"):
        count, statuses, differences = compare(benchmark, mutants_a_task)
        print(
            f"{benchmark}: {count} programs, {len(differences)} differences; ours: {dict(statuses.most_common())}", flush=True
        )
        for difference in differences:
            unexplained += not difference.reason
            verdicts = f"ours {difference.ours}, evalplus {difference.theirs}"
            print(f"  {difference.task_id}: {verdicts}: {difference.reason or difference.detail}")
            if not difference.reason:
                print("    " + "\n    ".join(difference.program.splitlines()[-12:]))
    sys.exit(1 if unexplained else 0)


if __name__ == "__main__":
    main()
