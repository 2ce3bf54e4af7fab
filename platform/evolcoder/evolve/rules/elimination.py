"""Which evolutions failed, by rules that need no further call to a model; and the cleaning before them. Pure.

A rule returns its own name as the reason to eliminate, or None to keep. ``apology``, ``only_stop_words`` and
``copied_prompt`` are WizardLM's; the rest catch replies that are no task or no answer at all. The judge is in ``novelty.py``,
for it costs a call; copies of benchmarks and of other rows are looked for in the package ``copies``.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

APOLOGY_WORDS = 80
PROMPT_PHRASES = ("original task", "rewritten task", "given prompt", "rewritten prompt", "original prompt", "new prompt")

_STOP_WORD_LIST = (
    "a about above after again all am an and any are as at be because been before being below between both but by can did do "
    "does doing down during each few for from further had has have having he her here hers him his how i if in into is it its "
    "just me more most my no nor not now of off on once only or other our out over own same she should so some such than that "
    "the their them then there these they this those through to too under until up very was we were what when where which "
    "while who whom why will with you your"
)
_STOP_WORDS = frozenset(_STOP_WORD_LIST.split())
_LABEL = re.compile(
    r"""^[\s#*_>]*
        (?:(?:the|your)\s+)?
        (?:(?:rewritten|new|revised|updated|evolved|modified|harder|original|given)\s+)
        (?:(?:programming|coding|code)\s+)?
        (?:task|prompt|instruction|problem|version)
        [\s#*_]*:[\s#*_]*""",
    re.IGNORECASE | re.VERBOSE,
)
_PREFACE = re.compile(
    r"^(?:(?:sure|certainly|okay|ok)\b[^\n:]{0,40}[,.!]\s*)?here(?:'s|\u2019s| is)\b[^\n:]{0,80}:\s*", re.IGNORECASE
)
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "`": "`"}


@dataclass(frozen=True)
class Evolved:
    """An evolved instruction as it came, cleaned, beside the task that it was made from."""

    parent_task: str
    instruction: str
    finish_reason: str
    max_words: int


@dataclass(frozen=True)
class Answered:
    """A response as it came, cleaned."""

    response: str
    finish_reason: str


def clean_instruction(text: str) -> str:
    """The task in a reply: without a label or a preface before it, and without quotes around it."""
    while True:
        shorter = _unquoted(_PREFACE.sub("", _LABEL.sub("", text.strip())).strip())
        if shorter == text:
            return text
        text = shorter


def clean_response(text: str) -> str:
    return text.strip()


def _unquoted(text: str) -> str:
    closing = _QUOTES.get(text[:1])
    inside = text[1:-1]
    if len(text) >= 2 and closing == text[-1] and text[0] not in inside and closing not in inside:
        return inside
    return text


def empty_instruction(evolved: Evolved) -> str | None:
    return "empty_instruction" if not re.search(r"\w", evolved.instruction) else None


def truncated_instruction(evolved: Evolved) -> str | None:
    return "truncated_instruction" if evolved.finish_reason == "length" else None


def copied_prompt(evolved: Evolved) -> str | None:
    """The reply repeats the words that asked for it."""
    text = evolved.instruction.lower()
    return "copied_prompt" if any(phrase in text for phrase in PROMPT_PHRASES) else None


def unchanged(evolved: Evolved) -> str | None:
    return "unchanged" if normalised(evolved.instruction) == normalised(evolved.parent_task) else None


def overlong(evolved: Evolved) -> str | None:
    return "overlong" if len(evolved.instruction.split()) > evolved.max_words else None


def empty_response(answered: Answered) -> str | None:
    return "empty_response" if not answered.response else None


def truncated_response(answered: Answered) -> str | None:
    return "truncated_response" if answered.finish_reason == "length" else None


def apology(answered: Answered) -> str | None:
    """WizardLM's rule: `sorry` in a response of fewer than 80 words."""
    text = answered.response
    return "apology" if "sorry" in text.lower() and len(text.split()) < APOLOGY_WORDS else None


def only_stop_words(answered: Answered) -> str | None:
    words = (word.strip(string.punctuation) for word in answered.response.lower().split())
    return "only_stop_words" if all(not word or word in _STOP_WORDS for word in words) else None


INSTRUCTION_RULES: Sequence[Callable[[Evolved], str | None]] = (
    empty_instruction,
    truncated_instruction,
    copied_prompt,
    unchanged,
    overlong,
)
RESPONSE_RULES: Sequence[Callable[[Answered], str | None]] = (empty_response, truncated_response, apology, only_stop_words)


def eliminate_instruction(evolved: Evolved) -> str | None:
    """The first rule that the evolved instruction breaks, or None."""
    return next((reason for rule in INSTRUCTION_RULES if (reason := rule(evolved))), None)


def eliminate_response(answered: Answered) -> str | None:
    """The first rule that the response breaks, or None."""
    return next((reason for rule in RESPONSE_RULES if (reason := rule(answered))), None)


def normalised(text: str) -> str:
    """Text without the differences that make no other task: case, white space, closing punctuation."""
    return " ".join(text.lower().split()).rstrip(".!?: ")
