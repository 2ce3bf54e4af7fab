"""From a model's answer to its code, by named rules that are recorded with the score. Pure; no text makes it fail.

| id          | rule                                                                                                  |
|-------------|-------------------------------------------------------------------------------------------------------|
| none        | the answer as it is                                                                                   |
| stops       | the answer up to the first stop sequence: for a base model that goes on with the prompt               |
| wizardcoder | no carriage returns, tabs to four spaces, the first Python fence (else the first fence; an open one    |
|             | runs to the end), cut at the ``__main__`` guard, cut at ``# Example usage`` and ``# Test examples``     |
| ds1000      | no carriage returns, what the first fence holds, cut at ``</code>`` and the other marks of DS-1000's end |
| sanitize    | evalplus's sanitizer: the longest run of lines that parses, then the definitions that the entry point  |
|             | needs                                                                                                  |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from evolcoder.errors import SettingsError

ExtractionId = Literal["none", "stops", "wizardcoder", "ds1000", "sanitize"]

_PYTHON_FENCE = re.compile(r"```[ \t]*(?:python3?|py)\b[^\n]*(?:\n|$)", re.IGNORECASE)
_ANY_FENCE = re.compile(r"```[^\n`]*(?:\n|$)")
_CLOSING_FENCE = re.compile(r"^[ \t]*```", re.MULTILINE)
_MAIN_GUARD = re.compile(r"""if[ \t]+__name__[ \t]*==[ \t]*(['"])__main__\1[ \t]*:""")
_DS1000_STARTS = ("BEGIN SOLUTION", "<code>")
_DS1000_ENDS = ("</code>", "# SOLUTION END", "### END SOLUTION", "END SOLUTION")
_EXAMPLES = ("# Example usage", "# Test examples")


def extraction_named(name: str) -> ExtractionId:
    """Check a name that a user gave.

    Raises:
        SettingsError: there is no such extraction.
    """
    for known in get_args(ExtractionId):
        if name == known:
            return known  # type: ignore[no-any-return]
    raise SettingsError(f"There is no extraction {name!r}; extractions: {', '.join(get_args(ExtractionId))}.")


def extract(extraction: ExtractionId, answer: str, stops: Sequence[str] = (), entry_point: str = "") -> str | None:
    """The code in an answer; None when there is none."""
    rules: dict[ExtractionId, Callable[[str], str]] = {
        "none": lambda text: text,
        "stops": lambda text: cut_at_stops(text, stops),
        "wizardcoder": _wizardcoder,
        "ds1000": _ds1000,
        "sanitize": lambda text: _sanitized(text, entry_point),
    }
    code = rules[extraction](answer)
    return code if code.strip() else None


def cut_at_stops(text: str, stops: Sequence[str]) -> str:
    """The text before the first of the stop sequences, as an endpoint that honours them would return it."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text


def _wizardcoder(answer: str) -> str:
    code = _fenced(answer.replace("\r", "").replace("\t", "    "))
    guard = _MAIN_GUARD.search(code)
    if guard:
        code = code[: guard.start()]
    code = cut_at_stops(code, _EXAMPLES)
    return code.strip("\n").rstrip() + "\n"


def _ds1000(answer: str) -> str:
    code = _fenced(answer.replace("\r", ""))
    for start in _DS1000_STARTS:
        _, found, after = code.partition(start)
        code = after.removeprefix("\n") if found else code
    return cut_at_stops(code, _DS1000_ENDS).rstrip() + "\n"


def _sanitized(answer: str, entry_point: str) -> str:
    from evolcoder.evaluate.evalplus_adapter import sanitized  # takes over a second to import

    return sanitized(answer, entry_point)


def _fenced(text: str) -> str:
    """What stands in the first Python fence, else in the first fence, else everything."""
    opening = _PYTHON_FENCE.search(text) or _ANY_FENCE.search(text)
    if opening is None:
        return text
    inside = text[opening.end() :]
    closing = _CLOSING_FENCE.search(inside)
    if closing:
        inside = inside[: closing.start()]
    indent = text[text.rfind("\n", 0, opening.start()) + 1 : opening.start()]
    if indent and not indent.strip(" "):
        inside = re.sub(rf"^ {{1,{len(indent)}}}", "", inside, flags=re.MULTILINE)
    return inside
