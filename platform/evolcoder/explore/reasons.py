"""What the reason of an eliminated row means, in one sentence for people. ``docs/evolve.md`` says the same at more length."""

from __future__ import annotations

_ENDED_BY = "ended_by_"
_MEANINGS = {
    "empty_instruction": "The evolved task holds no word.",
    "empty_response": "The response is empty.",
    "truncated_instruction": "The task was cut off at teacher.max_tokens.",
    "truncated_response": "The response was cut off at teacher.max_tokens.",
    "filtered_instruction": "The endpoint withheld the task, or a part of it.",
    "filtered_response": "The endpoint withheld the response, or a part of it.",
    "refused": "The endpoint refuses this request for ever: a filter or a policy.",
    "too_long": "The request does not fit the model.",
    "copied_prompt": "The task repeats words of the prompt that asked for it.",
    "unchanged": "The task is its parent again.",
    "overlong": "The task has more than evolve.max_instruction_words words.",
    "apology": "The response says sorry, in few words.",
    "only_stop_words": "The response is punctuation and stop words alone.",
    "no_information_gain": "The judge calls the task equal to its parent.",
    "contaminated": "It holds a problem, a solution or tests of a benchmark.",
    "duplicate": "An earlier row says the same, or nearly.",
}


def meaning(reason: str) -> str:
    """Empty for a reason that is not known here."""
    if reason.startswith(_ENDED_BY):
        return f"The reply did not come to its own end: {reason.removeprefix(_ENDED_BY).replace('_', ' ')}."
    return _MEANINGS.get(reason, "")
