"""How long a row is, and numbers that stand in for how hard it is. None of them is difficulty itself. Pure."""

from __future__ import annotations

import ast
import re
import warnings
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from evolcoder.evaluate.fences import Block, fenced_blocks
from evolcoder.evolve.rules.operators import SHOWN_CODE, task_text

NO_CODE, UNNAMED, OTHER = "no code", "not named", "other"

_REQUIREMENTS = re.compile(
    r"\b(?:must|should|shall|ensure|require[sd]?|without|only|exactly|at (?:least|most)|no more than|not|never|cannot|"
    r"constraints?|requirements?|handle)\b",
    re.IGNORECASE,
)
_REASONING = re.compile(
    r"\b(?:because|since|therefore|thus|hence|so that|first|second|then|next|finally|steps?|if we|note that|consider)\b",
    re.IGNORECASE,
)
_LANGUAGES = {
    "python": "python py python3 py3 ipython pycon",
    "javascript": "javascript js jsx node",
    "typescript": "typescript ts tsx",
    "java": "java",
    "c": "c",
    "c++": "c++ cpp cxx cc",
    "c#": "c# cs csharp",
    "go": "go golang",
    "rust": "rust rs",
    "php": "php",
    "ruby": "ruby rb",
    "swift": "swift",
    "kotlin": "kotlin kt",
    "r": "r",
    "sql": "sql mysql postgresql sqlite",
    "shell": "shell sh bash zsh console powershell",
    "html": "html xml css",
    "json": "json yaml yml toml",
    "text": "text txt plaintext output markdown md",
}
_LANGUAGE_OF = {tag: name for name, tags in _LANGUAGES.items() for tag in tags.split()}
"""What a model wrote behind a fence is one of these, or it is ``other``: the names that are held do not grow with the rows."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A number of each row. ``how`` says in words what is counted; a ``share`` is 0 or 1."""

    name: str
    title: str
    how: str
    share: bool = False


MEASURES = (
    Measure("instruction_words", "words in the task", "words of the instruction and its input"),
    Measure(
        "requirement_words", "words that require", "must, should, without, at least, exactly, not and their like in the task"
    ),
    Measure("task_shows_code", "tasks with code, %", "tasks with a code fence or lines that look like code", share=True),
    Measure("response_words", "words in the response", "words of the response, code included"),
    Measure("reasoning_words", "words that reason", "because, therefore, first, then, so that and their like in the response"),
    Measure(
        "response_has_code", "responses with code, %", "responses with a code fence or lines that look like code", share=True
    ),
    Measure(
        "syntax_nodes", "size of the code", "nodes in the syntax tree of the response's Python; rows without such are left out"
    ),
    Measure("syntax_depth", "depth of the code", "levels of that tree from the module to its deepest node"),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """The measures of one row by name, those that it has none of left out, and the language of its code."""

    values: dict[str, int]
    language: str


def measured(instruction: str, input: str, response: str) -> Measured:
    """What can be counted of a row, as ``MEASURES`` describes."""
    task = task_text(instruction, input)
    blocks = fenced_blocks(response)
    has_code = bool(blocks) or bool(SHOWN_CODE.search(response))
    tree = _python(blocks, response) if has_code else None
    values = {
        "instruction_words": len(task.split()),
        "requirement_words": len(_REQUIREMENTS.findall(task)),
        "task_shows_code": int(bool(SHOWN_CODE.search(task))),
        "response_words": len(response.split()),
        "reasoning_words": len(_REASONING.findall(response)),
        "response_has_code": int(has_code),
    }
    level: list[ast.AST] = [] if tree is None else [tree]
    while level:  # level by level: a tree may be deeper than Python's own stack
        values["syntax_nodes"] = values.get("syntax_nodes", 0) + len(level)
        values["syntax_depth"] = values.get("syntax_depth", 0) + 1
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if tag := next((block.language.split()[0] for block in blocks if block.language.split()), ""):
        return Measured(values, _LANGUAGE_OF.get(tag, "python" if blocks[0].is_python else OTHER))
    return Measured(values, "python" if tree is not None else UNNAMED if has_code else NO_CODE)


def _python(blocks: list[Block], response: str) -> ast.Module | None:
    """The syntax tree of the longest block that is Python, or of the whole response when it has no block."""
    candidates = [block.code for block in blocks if block.is_python or not block.language] if blocks else [response]
    for code in sorted(candidates, key=len, reverse=True):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of odd escapes in what a model wrote
                return ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return None


def quantiles(counts: Mapping[int, int], shares: Sequence[float]) -> list[float]:
    """Of values given by how often each occurs: for each share the value that it reaches."""
    values = sorted(counts)
    reached = list(accumulate(counts[value] for value in values))
    return [float(values[bisect_left(reached, share * reached[-1])]) for share in shares]
