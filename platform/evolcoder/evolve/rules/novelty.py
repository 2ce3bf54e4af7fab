"""The judge of WizardLM, in our own words: the teacher says whether an evolved task asks for anything new. Pure.

It costs one more call for each row, and is off by default.
"""

from __future__ import annotations

import re

from evolcoder.storage.hashes import stable_hash

_TEMPLATE = """Compare two programming tasks. Call them equal when both set the same requirements and need the same amount of
thought and work, in whatever words; call them not equal when one asks for something that the other does not.
Reply with `equal` or `not equal` alone.

Task 1:
{first}

Task 2:
{second}

Verdict:"""
JUDGE_FINGERPRINT = stable_hash(_TEMPLATE)
_DIFFERENT = re.compile(r"\b(?:not|n't|isn't|aren't)\s+(?:the\s+)?(?:equal|same)\b|\bunequal\b|\bdifferent\b", re.IGNORECASE)
_EQUAL = re.compile(r"\bequal\b", re.IGNORECASE)


def judge_prompt(parent_task: str, instruction: str) -> str:
    # Not str.format: tasks hold braces. Nor two str.replace: a task may hold the other one's placeholder.
    head, _, rest = _TEMPLATE.partition("{first}")
    middle, _, tail = rest.partition("{second}")
    return f"{head}{parent_task}{middle}{instruction}{tail}"


def says_equal(verdict: str) -> bool:
    """Whether the verdict is `equal`. One that says neither says nothing against the row."""
    # A model asked for one of two words may explain itself: "not equal" holds "equal", so the denial is looked for first.
    return not _DIFFERENT.search(verdict) and bool(_EQUAL.search(verdict))
