"""How a problem is put to a model, by named styles, and which extraction belongs to each. Pure.

| style       | endpoint          | prompt                                                     | stops        | extraction  |
|-------------|-------------------|------------------------------------------------------------|--------------|-------------|
| base        | /completions      | the problem's text as it is                                | what follows | stops       |
| wizardcoder | /completions      | the scoring prompt of the WizardCoder release, to the byte | none but EOS | wizardcoder |
| chat        | /chat/completions | one user message                                           | none but EOS | wizardcoder |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from evolcoder.errors import SettingsError
from evolcoder.evaluate.extraction import ExtractionId
from evolcoder.records import Completion
from evolcoder.templates import ALPACA_HEADER

BASE_STOPS = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\n```")
_SUSPICIOUS_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class PromptStyle:
    """``prompt_id`` changes whenever a byte of the prompt does."""

    name: str
    prompt_id: str
    api: Literal["completions", "chat"]
    stops: tuple[str, ...]
    extraction: ExtractionId


_STYLES = (
    PromptStyle("base", "humaneval-raw", "completions", BASE_STOPS, "stops"),
    PromptStyle("wizardcoder", "humaneval-wizardcoder", "completions", (), "wizardcoder"),
    PromptStyle("chat", "humaneval-chat-1", "chat", (), "wizardcoder"),
)


def style_named(name: str) -> PromptStyle:
    """The style of that name; ``auto`` is ``chat``, which every instruct endpoint understands.

    Raises:
        SettingsError: there is none.
    """
    for style in _STYLES:
        if style.name == ("chat" if name == "auto" else name):
            return style
    raise SettingsError(f"There is no prompt style {name!r}; styles: auto, {', '.join(style.name for style in _STYLES)}.")


def prompt_text(style: PromptStyle, problem_prompt: str) -> str:
    """What is sent: the raw prompt, or the content of the one user message."""
    if style.name == "base":
        return problem_prompt
    if style.name == "wizardcoder":
        body = problem_prompt.replace("    ", "\t")
        return f"{ALPACA_HEADER}\n\n\n### Instruction:\nCreate a Python script for this problem:\n{body}\n\n### Response:"
    return (
        "Complete the following Python function. Answer with the whole function, and whatever imports it needs, "
        f"in one ```python block.\n\n```python\n{problem_prompt.rstrip()}\n```"
    )


def pairing_warnings(style: PromptStyle, completions: Sequence[Completion]) -> list[str]:
    """Signs that the style does not fit the model: such a score says little about the model."""
    if not completions:
        return []
    fenced = sum("```" in completion.answer for completion in completions) / len(completions)
    endless = sum("```" not in c.answer and c.finish_reason == "length" for c in completions) / len(completions)
    if style.name == "base" and fenced > _SUSPICIOUS_SHARE:
        return [
            f"{fenced:.0%} of the answers hold code fences, as a chat model's do; the style `base` cuts such answers short: "
            "use evaluate.style=chat."
        ]
    if style.name != "base" and endless > 1 - _SUSPICIOUS_SHARE:
        return [
            f"{endless:.0%} of the answers have no code fence and run to the token limit, as a base model's do; "
            "use evaluate.style=base."
        ]
    return []
