"""What the benchmarks' prompts have in common, which style a name means, and whether a style fits a model. Pure.

| style       | endpoint          | prompt                                                     | stops        | extraction  |
|-------------|-------------------|------------------------------------------------------------|--------------|-------------|
| base        | /completions      | the problem's text, as it is usually put to a base model   | what follows | stops       |
| few-shot    | /completions      | MBPP's own: three solved tasks, then the problem           | `[DONE]`     | stops       |
| wizardcoder | /completions      | the scoring prompt of the WizardCoder release, to the byte | none but EOS | wizardcoder |
| chat        | /chat/completions | one user message                                           | none but EOS | wizardcoder |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evolcoder.errors import SettingsError
from evolcoder.records import Completion
from evolcoder.templates import ALPACA_HEADER

if TYPE_CHECKING:
    from evolcoder.evaluate.benchmarks.base import Benchmark, Problem, PromptStyle

BASE_STOPS = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\n```")
MBPP_STOPS = ("\nclass", "\nassert", '\n"""', "\nprint", "\nif", "\n```")
_SUSPICIOUS_SHARE = 0.3


def style_named(benchmark: Benchmark, name: str) -> PromptStyle:
    """The benchmark's style of that name; ``auto`` is ``chat``, which every instruct endpoint understands.

    Raises:
        SettingsError: the benchmark has none of that name.
    """
    styles = benchmark.styles()
    for style in styles:
        if style.name == ("chat" if name == "auto" else name):
            return style
    names = ", ".join(style.name for style in styles)
    raise SettingsError(f"{benchmark.name} has no prompt style {name!r}; its styles: auto, {names}.")


def scoring_prompt(body: str, blank_lines: int) -> str:
    """The Alpaca format as the WizardCoder release writes it for scoring, with its own number of blank lines."""
    return f"{ALPACA_HEADER}{chr(10) * (blank_lines + 1)}### Instruction:\n{body}\n\n### Response:"


def script_prompt(problem: Problem) -> str:
    """How the release asks for code that goes on from a prompt."""
    return scoring_prompt(f"Create a Python script for this problem:\n{tabbed(problem.prompt)}", blank_lines=2)


def tabbed(text: str) -> str:
    """Each four spaces as a tab, as the WizardCoder release sends code."""
    return text.replace("    ", "\t")


def pairing_warnings(style: PromptStyle, completions: Sequence[Completion]) -> list[str]:
    """Signs that the style does not fit the model: such a score says little about the model."""
    if not completions:
        return []
    fenced = sum("```" in completion.answer for completion in completions) / len(completions)
    endless = sum("```" not in c.answer and c.finish_reason == "length" for c in completions) / len(completions)
    if style.extraction == "stops" and fenced > _SUSPICIOUS_SHARE:
        return [
            f"{fenced:.0%} of the answers hold code fences, as a chat model's do; the style `{style.name}` cuts such answers "
            "short: use evaluate.style=chat."
        ]
    if style.extraction != "stops" and endless > 1 - _SUSPICIOUS_SHARE:
        return [
            f"{endless:.0%} of the answers have no code fence and run to the token limit, as a base model's do; "
            "use evaluate.style=base."
        ]
    return []
