"""Finds the words of benchmark problems in a text: whole statements, runs of 13 words, near-duplicates. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evolcoder.evolve.copies.canonical import defined_names, docstrings, without_numbers, words
from evolcoder.evolve.copies.grams import GRAM_WORDS, Grams, is_telling
from evolcoder.evolve.copies.minhash import NearIndex, shingles
from evolcoder.problems.rows import ProblemRow

NEAR_SIMILARITY = 0.6
"""Share of word triples. Lower than for code: a reworded sentence loses three triples for each word."""
_FEWEST_NEAR_SHINGLES = 8
_FEWEST_EXACT_WORDS = 5
_FEWEST_TELLING_WORDS = 6
"""Of a whole statement that is shorter than an n-gram, to be looked for inside other text."""
_LOOKED_UP_BY = 3


@dataclass(frozen=True, slots=True)
class Found:
    """A problem, by its number, that a text holds."""

    problem: int
    rule: str
    evidence: str


class StatementIndex:
    """What problems say: their statements, prompts, solutions and tests as words."""

    def __init__(self, problems: Sequence[ProblemRow]) -> None:
        self._words = Grams.of(
            (number, words(text)) for number, p in enumerate(problems) for text in (p.prompt, *p.solutions, p.tests)
        )
        self._reworded = Grams.of(
            (number, found) for number, p in enumerate(problems) for found in _without_details(p.statement, p.prompt)
        )
        self._whole: dict[str, set[int]] = defaultdict(set)
        self._short: dict[tuple[str, ...], list[tuple[int, tuple[str, ...]]]] = defaultdict(list)
        self._near = NearIndex(NEAR_SIMILARITY)
        for number, problem in enumerate(problems):
            names = defined_names(problem.prompt)
            for text in {problem.statement, *docstrings(problem.prompt)}:
                for found in (words(text), without_numbers(words(text), names)):
                    if len(found) >= _FEWEST_EXACT_WORDS:
                        self._whole[" ".join(found)].add(number)
            statement = tuple(words(problem.statement))
            if len(statement) < GRAM_WORDS and sum(map(is_telling, statement)) >= _FEWEST_TELLING_WORDS:
                self._short[statement[-_LOOKED_UP_BY:]].append((number, statement))
            triples = _triples(problem.statement)
            if len(triples) >= _FEWEST_NEAR_SHINGLES:
                self._near.add(number, triples)

    def find(self, task: str, whole: str) -> Iterator[Found]:
        """Problems in a row, of which ``task`` is the instruction and ``whole`` instruction and response together."""
        names = defined_names(whole)
        told = docstrings(whole)
        asked = words(task)
        for text, found in ((task, asked), *((text, without_numbers(words(text), names)) for text in told)):
            for number in sorted(self._whole.get(" ".join(found), ())):
                yield Found(number, "exact", " ".join(text.split()))
        for number, evidence in self._words.find(words(whole)):
            yield Found(number, "words", evidence)
        for end in range(_LOOKED_UP_BY, len(asked) + 1):
            for number, statement in self._short.get(tuple(asked[end - _LOOKED_UP_BY : end]), ()):
                if tuple(asked[max(end - len(statement), 0) : end]) == statement:
                    yield Found(number, "words", " ".join(statement))
        for found in _without_details(whole, whole):
            for number, evidence in self._reworded.find(found):
                yield Found(number, "reworded", evidence)
        for text in (task, *told):
            triples = _triples(text)
            if len(triples) >= _FEWEST_NEAR_SHINGLES:
                for number, share in self._near.find(triples):
                    yield Found(number, "near", f"{share:.2f} of the word triples: {' '.join(text.split())}")


def _triples(text: str) -> set[str]:
    return shingles(without_numbers(words(text)))


def _without_details(text: str, program: str) -> list[list[str]]:
    """The words of a text without its numbers, and also without the names of the functions of a program."""
    found = words(text)
    names = defined_names(program)
    plain = without_numbers(found)
    return [plain, without_numbers(found, names)] if names else [plain]
