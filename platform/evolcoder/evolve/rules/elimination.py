"""Which evolutions failed, and the cleaning before the rules that say so. Pure.

The name of a rule is the reason of the rows that it eliminates. ``apology`` (`sorry` in fewer than 80 words),
``only_stop_words`` and ``copied_prompt`` are WizardLM's; the rest catch replies that are no task or no answer at all. The
judge is WizardLM's too, in our own words: the teacher says whether a task asks for anything new. It costs one more call for
each row, and is off by default. Copies of benchmarks and of other rows are looked for in the package ``copies``.
"""

from __future__ import annotations

import re
import string

from evolcoder.endpoint.replies import ending
from evolcoder.storage.hashes import stable_hash

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
_JUDGE = """Compare two programming tasks. Call them equal when both set the same requirements and need the same amount of
thought and work, in whatever words; call them not equal when one asks for something that the other does not.
Reply with `equal` or `not equal` alone.

Task 1:
{first}

Task 2:
{second}

Verdict:"""
JUDGE_FINGERPRINT = stable_hash(_JUDGE)
_DIFFERENT = re.compile(r"\b(?:not|n't|isn't|aren't)\s+(?:the\s+)?(?:equal|same)\b|\bunequal\b|\bdifferent\b", re.IGNORECASE)
_EQUAL = re.compile(r"\bequal\b", re.IGNORECASE)
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "`": "`"}


def clean_instruction(text: str) -> str:
    """The task in a reply: without a label or a preface before it, and without quotes around it."""
    while True:
        shorter = _PREFACE.sub("", _LABEL.sub("", text.strip())).strip()
        inside = shorter[1:-1]
        if len(shorter) >= 2 and _QUOTES.get(shorter[0]) == shorter[-1] and not {shorter[0], shorter[-1]} & set(inside):
            shorter = inside
        if shorter == text:
            return text
        text = shorter


def without_outer_blank_lines(text: str) -> str:
    """The text as it came, byte for byte, without the blank lines around it: an indent or a space may be part of a program."""
    lines = text.split("\n")
    said = [number for number, line in enumerate(lines) if line.strip()]
    if not said:
        return ""
    kept = "\n".join(lines[said[0] : said[-1] + 1])
    return kept.removesuffix("\r") if said[-1] + 1 < len(lines) else kept


def eliminate_instruction(instruction: str, parent_task: str, finish_reason: str, max_words: int) -> str | None:
    """The first rule that an evolved instruction, cleaned, breaks; ``parent_task`` is what it was made from."""
    text = instruction.lower()
    broken = {
        **_unnatural_endings(finish_reason, "instruction"),
        "empty_instruction": not re.search(r"\w", instruction),
        "copied_prompt": any(phrase in text for phrase in PROMPT_PHRASES),  # it repeats the words that asked for it
        "unchanged": normalised(instruction) == normalised(parent_task),
        "overlong": len(instruction.split()) > max_words,
    }
    return next((rule for rule, breaks in broken.items() if breaks), None)


def eliminate_response(response: str, finish_reason: str) -> str | None:
    """The first rule that a response, cleaned, breaks."""
    words = response.lower().split()
    bare = (word.strip(string.punctuation) for word in words)
    broken = {
        **_unnatural_endings(finish_reason, "response"),
        "empty_response": not response,
        "apology": "sorry" in response.lower() and len(words) < APOLOGY_WORDS,
        "only_stop_words": all(not word or word in _STOP_WORDS for word in bare),
    }
    return next((rule for rule, breaks in broken.items() if breaks), None)


def _unnatural_endings(finish_reason: str, what: str) -> dict[str, bool]:
    """Rules that a reply breaks which did not come to its own end, whatever is left of it."""
    how = ending(finish_reason)
    other = how not in ("whole", "cut", "filtered")
    return {f"truncated_{what}": how == "cut", f"filtered_{what}": how == "filtered", f"ended_by_{how}": other}


def judge_prompt(parent_task: str, instruction: str) -> str:
    # Not str.format: tasks hold braces. Nor two str.replace: a task may hold the other one's placeholder.
    head, _, rest = _JUDGE.partition("{first}")
    middle, _, tail = rest.partition("{second}")
    return f"{head}{parent_task}{middle}{instruction}{tail}"


def says_equal(verdict: str) -> bool:
    """Whether the verdict is `equal`. One that says neither says nothing against the row."""
    # A model asked for one of two words may explain itself: "not equal" holds "equal", so the denial is looked for first.
    return not _DIFFERENT.search(verdict) and bool(_EQUAL.search(verdict))


def normalised(text: str) -> str:
    """Text without the differences that make no other task: case, white space, closing punctuation."""
    return " ".join(text.lower().split()).rstrip(".!?: ")
