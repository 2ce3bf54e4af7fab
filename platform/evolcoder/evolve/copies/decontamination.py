"""Which rows hold a benchmark's problem, its solution or its tests, disguised or not. Pure.

An index is made once from the problems; ``hits`` compares a row with it and says, for each problem found, by which rule and
by which text. Instruction and response are read as one text too, so that a problem split over both is seen.

| rule         | falls when the row holds                                                                               |
|--------------|--------------------------------------------------------------------------------------------------------|
| ``exact``    | a problem's statement as its instruction or as a docstring: case and punctuation aside                 |
| ``words``    | 13 words in a row of a prompt, solution or test that are not mere idiom, or a whole shorter statement  |
| ``reworded`` | 13 words of a statement once numbers, number words and a function's own names are each made one        |
| ``near``     | a text that shares most of its word triples with a statement, or a function most of its code with a    |
|              | solution, whatever the names (MinHash finds them, then they are counted)                               |
| ``solution`` | the body of a solution, however it is laid out and commented                                           |
| ``renamed``  | that body with other names and literals                                                                |
| ``function`` | the function that is asked for, by its name, with its body or its parameters                           |
| ``tests``    | assertions of a test                                                                                   |

What many problems of one benchmark share (imports, a harness) says nothing of any of them and is left out, and so are bodies
that anyone would write. A solution by another algorithm under another name, with the task told in new words, is not found;
nor is one in another language.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from evolcoder.benchmark_table import benchmark_files
from evolcoder.evolve.copies.canonical import FENCE
from evolcoder.evolve.copies.programs import ProgramIndex
from evolcoder.evolve.copies.statements import Found, StatementIndex
from evolcoder.problems.rows import ProblemRow

RULES_VERSION = 1
"""Raised whenever a rule finds other rows than before, so that finished rounds are made anew."""

_RAISED_FOR = {"mbpp": 2, "ds1000": 2}
"""Benchmarks whose problems are read in another way since (an entry point, the form of an id); rounds that were compared with
others only are as they would be today."""

CONTAMINATION_FILE = "contamination.json"
"""What was found, in the folder of each round and in the data set's."""

EVIDENCE_CHARACTERS = 160


@dataclass(frozen=True, slots=True)
class Hit:
    """One problem found in one row."""

    row_id: str
    benchmark: str
    task_id: str
    rule: str
    evidence: str


class BenchmarkIndex:
    """All that rows are compared with. Made once; picklable, and the same on every machine."""

    def __init__(self, problems: Sequence[ProblemRow]) -> None:
        self._names = [(problem.benchmark, problem.task_id) for problem in problems]
        self._statements = StatementIndex(problems)
        self._programs = ProgramIndex(problems)

    def hits(self, row_id: str, task: str, response: str) -> list[Hit]:
        """Every problem that the row holds, once each, with the first rule that found it."""
        task, response = FENCE.sub("", task), FENCE.sub("", response)
        whole = f"{task}\n{response}"
        found: dict[int, Found] = {}
        for one in chain(self._statements.find(task, whole), self._programs.find(whole)):
            found.setdefault(one.problem, one)
        return [Hit(row_id, *self._names[one.problem], one.rule, one.evidence[:EVIDENCE_CHARACTERS]) for one in found.values()]


def rules_version(benchmarks: Sequence[str]) -> int:
    """The version of the rules as far as it matters to these benchmarks."""
    return max((_RAISED_FOR.get(name, RULES_VERSION) for name in benchmarks), default=RULES_VERSION)


def decontamination_identity(benchmarks: Sequence[str]) -> dict[str, Any]:
    """What decides which rows are found: the data, to the byte, and the rules."""
    return {
        "rules": rules_version(benchmarks),
        "benchmarks": {name: benchmark_files()[name].sha256 for name in sorted(set(benchmarks))},
    }


def findings(
    rules: int, benchmarks: Mapping[str, str], rows_compared: int, hits: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What ``CONTAMINATION_FILE`` holds: by which rules rows were compared with which versions, and each hit."""
    return {
        "rules": rules,
        "benchmarks": dict(benchmarks),
        "rows_compared": rows_compared,
        "rows": len({hit["row_id"] for hit in hits}),
        "by_benchmark": dict(sorted(Counter(hit["benchmark"] for hit in hits).items())),
        "by_rule": dict(sorted(Counter(hit["rule"] for hit in hits).items())),
        "hits": list(hits),
    }
