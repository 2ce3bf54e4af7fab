"""From a model's answer to its code, by named rules that are recorded with the score. Pure; no text makes it fail.

| id          | rule                                                                                                   |
|-------------|--------------------------------------------------------------------------------------------------------|
| none        | the answer as it is                                                                                    |
| stops       | the answer up to the first stop sequence: for a base model that goes on with the prompt                |
| wizardcoder | no carriage returns, tabs to four spaces, the first Python fence (else the first fence; an open one     |
|             | runs to the end) up to the next three backticks, as the WizardCoder release has it; cut at the         |
|             | ``__main__`` guard, at ``# Example usage`` and ``# Test examples``                                      |
| chat        | any instruct model's: no thinking, then ``chat_program``; where no function is asked for, the Python    |
|             | fences that parse, cut as ``ds1000`` does                                                              |
| ds1000      | no carriage returns, what the first fence holds, cut at ``</code>`` and the other marks of DS-1000's end |
| sanitize    | evalplus's sanitizer: the longest run of lines that parses, then the definitions that the entry point  |
|             | needs                                                                                                  |
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Literal, cast, get_args

from evolcoder.errors import SettingsError
from evolcoder.evaluate.chat_program import code_in, program_in
from evolcoder.text.thinking import KNOWN_MARKS, Mark, drop_thinking

ExtractionId = Literal["none", "stops", "wizardcoder", "chat", "ds1000", "sanitize"]

READING_VERSION = 2
"""Raised when an answer may become another program by the same extraction. Since 2, imports from ``__future__`` go before the
prompt, a byte order mark is dropped, and ``wizardcoder`` ends a fence at three backticks anywhere."""

_PYTHON_FENCE = re.compile(r"```[ \t]*(?:python3?|py)\b[^\n]*(?:\n|$)", re.IGNORECASE)
_ANY_FENCE = re.compile(r"```[^\n`]*(?:\n|$)")
_FENCE_ON_ITS_LINE = re.compile(r"^[ \t]*```", re.MULTILINE)
_FENCE_ANYWHERE = re.compile("```")
_MAIN_GUARD = re.compile(r"""if[ \t]+__name__[ \t]*==[ \t]*(['"])__main__\1[ \t]*:""")
_DS1000_STARTS = ("BEGIN SOLUTION", "<code>")
_DS1000_ENDS = ("</code>", "# SOLUTION END", "### END SOLUTION", "END SOLUTION")
_EXAMPLES = ("# Example usage", "# Test examples")


def extraction_named(name: str) -> ExtractionId:
    """Check a name that a user gave.

    Raises:
        SettingsError: there is no such extraction.
    """
    if name not in get_args(ExtractionId):
        raise SettingsError(f"There is no extraction {name!r}; extractions: {', '.join(get_args(ExtractionId))}.")
    return cast(ExtractionId, name)


def extract(
    extraction: ExtractionId,
    answer: str,
    stops: Sequence[str] = (),
    entry_point: str = "",
    thinking_marks: Sequence[Mark] = KNOWN_MARKS,
) -> str | None:
    """The code in an answer; None when there is none."""
    match extraction:
        case "none":
            code = answer
        case "stops":
            code = cut_at_stops(answer, stops)
        case "wizardcoder":
            code = _wizardcoder(answer)
        case "chat":
            code = _chat(answer, entry_point, thinking_marks)
        case "ds1000":
            code = _ds1000(answer)
        case "sanitize":
            from evolcoder.evaluate.evalplus_adapter import sanitized  # takes over a second to import

            code = sanitized(answer, entry_point)
    return code if code.strip() else None


def read_alike(extraction: str, answer: str) -> bool:
    """Whether the version before made the same program of an answer."""
    if "__future__" in answer or "\ufeff" in answer:
        return False
    text = answer.replace("\r", "")
    return extraction != "wizardcoder" or _fenced(text, _FENCE_ON_ITS_LINE) == _fenced(text, _FENCE_ANYWHERE)


def future_imports(code: str) -> tuple[str, str]:
    """The imports that must come first in a program, and the code without them."""
    if "__future__" not in code:
        return "", code
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError):
        return "", code
    lines = code.splitlines(keepends=True)
    first: list[str] = []
    for node in body[1:] if ast.get_docstring(ast.Module(body, []), clean=False) is not None else body:
        if not isinstance(node, ast.ImportFrom) or node.module != "__future__" or node.end_lineno is None:
            break
        for place in range(node.lineno - 1, node.end_lineno):
            first.append(lines[place])
            lines[place] = ""
    return "".join(line if line.endswith("\n") else line + "\n" for line in first if line), "".join(lines)


def cut_at_stops(text: str, stops: Sequence[str]) -> str:
    """The text before the first of the stop sequences, as an endpoint that honours them would return it."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text


def _wizardcoder(answer: str) -> str:
    code = _fenced(answer.replace("\r", "").replace("\t", "    "), _FENCE_ANYWHERE)
    code = cut_at_stops(_MAIN_GUARD.split(code, maxsplit=1)[0], _EXAMPLES)
    return code.strip("\n").rstrip() + "\n"


def _ds1000(answer: str) -> str:
    return _ds1000_cut(_fenced(answer.replace("\r", ""), _FENCE_ON_ITS_LINE))


def _ds1000_cut(code: str) -> str:
    for start in _DS1000_STARTS:
        _, found, after = code.partition(start)
        code = after.removeprefix("\n") if found else code
    return cut_at_stops(code, _DS1000_ENDS).rstrip() + "\n"


def _chat(answer: str, entry_point: str, thinking_marks: Sequence[Mark]) -> str:
    text = answer.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    answered, dropped = drop_thinking(text, thinking_marks)
    for part in (answered, text)[: 2 if dropped else 1]:  # some models put all of the answer where they think
        code = program_in(part, entry_point) if entry_point else code_in(part)
        if code is not None:
            return code if entry_point else _ds1000_cut(code)
    return _wizardcoder(answered) if entry_point else _ds1000(answered)


def _fenced(text: str, closing_fence: re.Pattern[str]) -> str:
    """What stands in the first Python fence, else in the first fence, else everything."""
    opening = _PYTHON_FENCE.search(text) or _ANY_FENCE.search(text)
    if opening is None:
        return text
    inside = closing_fence.split(text[opening.end() :], maxsplit=1)[0]
    indent = text[text.rfind("\n", 0, opening.start()) + 1 : opening.start()]
    if indent and not indent.strip(" "):
        inside = re.sub(rf"^ {{1,{len(indent)}}}", "", inside, flags=re.MULTILINE)
    return inside
