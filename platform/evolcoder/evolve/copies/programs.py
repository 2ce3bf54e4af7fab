"""Finds the solutions and tests of benchmark problems in code, however it is laid out, commented or named. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evolcoder.evolve.copies.canonical import Line, code_lines, renamed, shape, signatures, token_count, verbatim
from evolcoder.evolve.copies.minhash import NearIndex, shingles
from evolcoder.evolve.copies.statements import Found
from evolcoder.problems.rows import ProblemRow

_FEWEST_TOKENS = 16
"""Of a body that is looked for as it is. Shorter ones are harmless: anyone would write them."""
_FEWEST_TOKENS_RENAMED = 24
_FEWEST_TOKENS_OF_ONE_NAME = 12
"""Of a body that may have other names in a function of the same name; a shorter one-liner must be the same in every word."""
_TELLING_NAME_PARTS = 3
"""Of a function's name, such as `has_close_elements`, that with its parameters is enough to tell a problem."""
NEAR_SIMILARITY = 0.75
_NEAR_TOKENS = 4
_FEWEST_NEAR_RUNS = 40
"""Shorter bodies are alike by chance: every bubble sort is."""
_FEWEST_ASSERTION_TOKENS = 5
_LONG_ASSERTION_TOKENS = 24
_HARMLESS = frozenset(
    {
        "return @0 + @1",
        "return @0 - @1",
        "return @0 * @1",
        "return @0 / @1",
        "return @0 % @1",
        "return @0 ** @1",
        "return @0 ** #",
        "return @0 * @0",
        "return @0 % # == #",
        "return @0 == @0 [ : : - # ]",
        "return @0 [ : : - # ]",
        "return len @0",
        "return sum @0",
        "return max @0",
        "return min @0",
        "return set @0",
        "return sorted @0",
        "return max @0 , @1",
        "return min @0 , @1",
        "return sum @0 / len @0",
        "return @0 . upper",
        "return @0 . lower",
        "return True",
        "return False",
        "return None",
        "pass",
    }
)
"""One-liners that prove nothing, whatever the function is called."""


@dataclass(frozen=True, slots=True)
class _Body:
    """The lines of a solution."""

    problem: int
    shapes: tuple[tuple[str, ...], ...]
    tokens: int
    as_it_is: tuple[object, ...]
    with_other_names: tuple[object, ...]


class ProgramIndex:
    """What solves problems, and what tests them."""

    def __init__(self, problems: Sequence[ProblemRow]) -> None:
        self._bodies: dict[tuple[str, ...], list[_Body]] = defaultdict(list)
        self._signatures: dict[tuple[str, tuple[str, ...]], int] = {}
        self._functions: dict[tuple[str, tuple[object, ...]], int] = {}
        self._assertions: dict[tuple[str, ...], int] = {}
        self._near = NearIndex(NEAR_SIMILARITY)
        for number, problem in enumerate(problems):
            for program in problem.solutions:
                self._add_solution(number, problem.entry_point, program)
            for _, tokens in code_lines(problem.tests) if problem.entry_point else ():
                if tokens[0] == "assert" and len(tokens) >= _FEWEST_ASSERTION_TOKENS:
                    self._assertions.setdefault(tokens, number)

    def _add_solution(self, number: int, entry_point: str, program: str) -> None:
        """The body of the function that is asked for; helpers are not the problem: many programs test for primes.

        Of a problem that asks for no function, the whole program but for its imports.
        """
        lines = code_lines(program)
        bodies = [body for name, body in _functions(lines) if name == entry_point]
        if not entry_point:
            bodies = [[line for line in lines if line[1][0] not in ("import", "from")]]
        for body in filter(None, bodies):
            shapes = tuple(shape(tokens) for _, tokens in body)
            self._bodies[shapes[0]].append(_Body(number, shapes, token_count(body), verbatim(body), renamed(body)))
            if entry_point:
                self._functions.setdefault((entry_point, _comparable(body)), number)
                runs = _runs(body)
                if len(runs) >= _FEWEST_NEAR_RUNS:
                    self._near.add(number, runs)
        for name, parameters in signatures(program):
            if name == entry_point and len(name.split("_")) >= _TELLING_NAME_PARTS:
                self._signatures.setdefault((name, parameters), number)

    def find(self, text: str) -> Iterator[Found]:
        lines = code_lines(text)
        yield from self._solutions(lines)
        for name, parameters in signatures(text):
            number = self._signatures.get((name, parameters))
            if number is not None:
                yield Found(number, "function", f"def {name}({', '.join(parameters)})")
        functions = list(_functions(lines))
        for name, body in functions:
            number = self._functions.get((name, _comparable(body)))
            harmless = len(body) == 1 and " ".join(shape(body[0][1], {})) in _HARMLESS
            if number is not None and not harmless:
                yield Found(number, "function", f"def {name}: {_shown(body)}")
        seen: dict[int, dict[tuple[str, ...], None]] = defaultdict(dict)
        for _, tokens in lines:
            number = self._assertions.get(tokens) if tokens[0] == "assert" else None
            if number is not None:
                seen[number].setdefault(tokens)
        for number, (first, *others) in seen.items():
            if others or len(first) >= _LONG_ASSERTION_TOKENS:
                yield Found(number, "tests", _shown([(0, first)]))
        for name, body in functions:
            runs = _runs(body)
            # Two sets of that similarity differ in size by no more than this: a smaller one cannot be near any body.
            if len(runs) >= _FEWEST_NEAR_RUNS * NEAR_SIMILARITY:
                for number, share in self._near.find(runs):
                    yield Found(number, "near", f"{share:.2f} of the code: def {name}: {_shown(body)}")

    def _solutions(self, lines: Sequence[Line]) -> Iterator[Found]:
        shapes = [shape(tokens) for _, tokens in lines]
        for start, first in enumerate(shapes):
            # By the shape of its first line, and only then in full: a row has many lines, and few of them begin a body.
            for body in self._bodies.get(first, ()):
                end = start + len(body.shapes)
                if tuple(shapes[start:end]) != body.shapes:
                    continue
                window = lines[start:end]
                if body.tokens >= _FEWEST_TOKENS and verbatim(window) == body.as_it_is:
                    yield Found(body.problem, "solution", _shown(window))
                elif body.tokens >= _FEWEST_TOKENS_RENAMED and renamed(window) == body.with_other_names:
                    yield Found(body.problem, "renamed", _shown(window))


def _runs(body: Sequence[Line]) -> set[str]:
    """Every run of a few tokens of a function's body, its own names all the same."""
    if not body:
        return set()
    top = body[0][0]
    return shingles([token for depth, tokens in body for token in (f"|{depth - top}", *shape(tokens))], _NEAR_TOKENS)


def _functions(lines: Sequence[Line]) -> Iterator[tuple[str, list[Line]]]:
    """Each function of some code: its name, and the lines below its head."""
    for start, (depth, tokens) in enumerate(lines):
        if tokens[0] != "def" or len(tokens) < 2:
            continue
        end = start + 1
        while end < len(lines) and lines[end][0] > depth:
            end += 1
        yield tokens[1], list(lines[start + 1 : end])


def _comparable(body: Sequence[Line]) -> tuple[object, ...]:
    """What must be the same of two functions of one name."""
    long = len(body) > 1 or token_count(body) >= _FEWEST_TOKENS_OF_ONE_NAME
    return renamed(body) if long else verbatim(body)


def _shown(lines: Sequence[Line]) -> str:
    return "; ".join(" ".join(token.replace('"', "'", 1) for token in tokens) for _, tokens in lines)
