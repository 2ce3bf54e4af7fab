"""How a reply ended, by the many names that servers give to it. Pure."""

from __future__ import annotations

import re

_NATURAL = {
    "stop", "eos", "eos_token", "eos_found", "end_turn", "stop_sequence", "stop_token", "end", "complete", "completed",
    "finish", "finished", "done", "none", "null",
}  # fmt: skip
_CUT = {
    "length", "max_tokens", "max_length", "max_output_tokens", "max_completion_tokens", "model_length", "token_limit",
    "context_length", "model_context_window_exceeded",
}  # fmt: skip
_FILTERED = {
    "content_filter", "content_filtered", "content_policy", "safety", "image_safety", "recitation", "sensitive", "refusal",
    "prohibited_content", "blocklist", "spii", "guardrail", "guardrail_intervened",
}  # fmt: skip


def ending(finish_reason: str) -> str:
    """``whole``, ``cut`` (at the limit of tokens), ``filtered`` (withheld in part or whole), or any other reason's own name.

    An endpoint that gives no reason is taken to have ended by itself.
    """
    if not finish_reason.strip():
        return "whole"
    name = re.sub(r"[^a-z0-9]+", "_", finish_reason.lower().rpartition(".")[2]).strip("_").removeprefix("finish_reason_")
    if name in _NATURAL:
        return "whole"
    if name in _CUT:
        return "cut"
    # Some add what was found: `content_filter: RECITATION`.
    return "filtered" if name.startswith(tuple(_FILTERED)) else name[:40] or "other"
