"""What a model thinks before it answers, told from the answer by the marks around it. Pure; one rule for every reader.

Endpoints that put thinking in a field of its own need none of this. Whether an answer is any good is not judged here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

Mark = tuple[str, str]
"""What stands before and after the thinking, in any case of letters."""

KNOWN_MARKS: tuple[Mark, ...] = (
    ("<think>", "</think>"),  # DeepSeek R1, Qwen 3, QwQ, GLM, MiniMax, Phi-4-reasoning, Nemotron, ERNIE, Hunyuan
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),  # EXAONE Deep, Gemini
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("[THINK]", "[/THINK]"),  # Magistral
    ("◁think▷", "◁/think▷"),  # Kimi
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A Reasoning
    ("<|begin_of_thought|>", "<|end_of_thought|>"),  # OpenThinker, Sky-T1
    ("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    ("<unused94>", "<unused95>"),  # MedGemma
    ("<|channel>thought", "<channel|>"),  # Gemma 4
    ("<|start|>assistant<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # gpt-oss, with special tokens
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
    ('<details type="reasoning"', "</details>"),  # Open WebUI
    ("Thinking...", "...done thinking."),  # Ollama's command line
    ("analysis", "assistantfinal"),  # gpt-oss, without them
    ("Here is my thought process:", "Here is my response:"),  # Granite 3.2
)
_ANSWER_MARKS = (
    ("<answer>", "</answer>"),
    ("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    ("<|begin_of_solution|>", "<|end_of_solution|>"),
    ("", "<|return|>"),
    ("", "<|end|>"),
)
"""Around the answer, where some of these models put them."""

_BRACKETS = "<[◁"
_QUOTES = "\"'`\\"
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_BLANK_LINES = re.compile(r"(?:[ \t]*\r?\n)+| (?! )")


class _Found(NamedTuple):
    """A mark in a text. ``closing`` names its pair; ``begins_line``: only white space stands before it on its line."""

    start: int
    end: int
    closing: str
    opens: bool
    quoted: bool
    begins_line: bool


def marks_with(own: Sequence[Mark] | None) -> tuple[Mark, ...]:
    """What a setting says: marks beside the known ones; None, that nothing is thinking."""
    return () if own is None else (*own, *KNOWN_MARKS)


def drop_thinking(text: str, marks: Sequence[Mark] = KNOWN_MARKS) -> tuple[str, int]:
    """The answer without the thinking, and how many characters were dropped; a text without thinking comes back as it is.

    Thinking is what stands between two marks at the beginning, or between marks that begin a line outside a code block; all
    before a lone closing mark, for many templates put the opening one into the prompt; and all of a text whose opening mark
    is never closed, for it was cut off. A mark that is quoted, or that stands in code, is a part of the answer. Marks
    without a bracket are mere words: they count only as a pair at the beginning.
    """
    pairs = tuple(marks)
    answer = _after_lone_closing(text, pairs)
    while (shorter := _after_first(answer, pairs)) is not None:
        answer = shorter
    while (shorter := _without_later(answer, pairs)) is not None:
        answer = shorter
    if len(answer) < len(text):
        # Nor does the answer keep marks of its own around it, or a closing mark that is left over at its end.
        for opening, closing in (*_ANSWER_MARKS, *(("", closing) for _, closing in pairs)):
            whole = answer.rstrip()
            if answer.lower().startswith(opening.lower()) and whole.lower().endswith(closing.lower()):
                within = whole[len(opening) : len(whole) - len(closing)]
                answer = _from_first_line(within) if opening else within
    return answer, len(text) - len(answer)


def _after_lone_closing(text: str, marks: tuple[Mark, ...]) -> str:
    """What follows a closing mark that no opening one stands before."""
    found = _find(text, marks)
    for number, one in enumerate(found):
        if one.opens or one.quoted:
            continue
        before = [other for other in found[:number] if other.opens and other.closing == one.closing]
        if one.begins_line:  # thinking may mention its own mark in the midst of a line
            before = [other for other in before if other.begins_line and not other.quoted]
        # Code of the answer lies between two fences; thinking may leave a fence open, and then those that follow match.
        fences = [len(_FENCE.findall(part)) % 2 for part in (text[: one.start], text[one.end :])]
        if not before and fences != [1, 1]:
            return _from_first_line(text[one.end :])
    return text


def _after_first(text: str, marks: tuple[Mark, ...]) -> str | None:
    """What follows the thinking at the beginning; None when there is none."""
    beginning = text.lstrip().lower()
    for opening, closing in marks:
        if opening[0] not in _BRACKETS and beginning.startswith(opening.lower()):
            end = text.lower().find(closing.lower())
            return _from_first_line(text[end + len(closing) :]) if end >= 0 else None
    found = _find(text, marks)
    if not found or text[: found[0].start].strip():
        return None
    last = _closing(found, 0) if found[0].opens else found[0]
    return "" if last is None else _from_first_line(text[last.end :])


def _without_later(text: str, marks: tuple[Mark, ...]) -> str | None:
    """The answer without the first of what the model thinks in the midst of it; None when there is nothing of that kind."""
    found = _find(text, marks)
    for number, one in enumerate(found):
        if one.opens and one.begins_line and not one.quoted and not len(_FENCE.findall(text[: one.start])) % 2:
            closing = _closing(found, number)
            if closing is not None:
                return text[: one.start] + text[closing.end :]
    return None


def _closing(found: Sequence[_Found], opening: int) -> _Found | None:
    """The mark that closes an opening one: of nested ones the outer, unless they do not match."""
    first, depth = None, 1
    for one in found[opening + 1 :]:
        if one.closing != found[opening].closing or one.quoted:
            continue
        if one.opens:
            depth += one.begins_line
            continue
        first = first or one
        depth -= 1
        if depth == 0:
            return one
    return first


def _from_first_line(rest: str) -> str:
    """What follows a closing mark, from its first line on; that line's indent is the answer's."""
    blank = _BLANK_LINES.match(rest)
    return rest[blank.end() :] if blank else rest


@lru_cache(maxsize=8)
def _pattern(marks: tuple[Mark, ...]) -> tuple[re.Pattern[str], dict[str, tuple[str, bool]]]:
    """Finds the marks with a bracket; and for each the closing mark of its pair, and whether it opens."""
    known = {word.lower(): (pair[1], word is pair[0]) for pair in marks if pair[0][0] in _BRACKETS for word in pair}
    longest_first = sorted(known, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)", re.IGNORECASE), known


def _find(text: str, marks: tuple[Mark, ...]) -> list[_Found]:
    """All marks with a bracket, in their order."""
    pattern, known = _pattern(marks)
    found = []
    for match in pattern.finditer(text):
        start, end = match.span()
        begins_line = not text[text.rfind("\n", 0, start) + 1 : start].strip()
        # A fence may stand right before a mark, and a fence or a docstring right behind one: that is no quotation of it.
        quoted = text[start - 1 : start] in _QUOTES and start > 0 and text[max(0, start - 3) : start] != "```"
        quoted |= text[end : end + 1] in _QUOTES and end < len(text) and not begins_line and text[end : end + 3] != "```"
        found.append(_Found(start, end, *known[match[0].lower()], quoted, begins_line))
    return found
