"""What the benchmarks' prompts have in common, which style a name means, and whether a style fits a model. Pure.

| style       | endpoint          | prompt                                                     | stops        | extraction  |
|-------------|-------------------|------------------------------------------------------------|--------------|-------------|
| base        | /completions      | the problem's text, as it is usually put to a base model   | what follows | stops       |
| few-shot    | /completions      | MBPP's own: three solved tasks, then the problem           | `[DONE]`     | stops       |
| wizardcoder | /completions      | the scoring prompt of the WizardCoder release, to the byte | none but EOS | wizardcoder |
| chat        | /chat/completions | one user message                                           | none but EOS | chat        |
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from evolcoder.errors import SettingsError
from evolcoder.records import Completion
from evolcoder.text.templates import ALPACA_HEADER
from evolcoder.text.thinking import drop_thinking

if TYPE_CHECKING:
    from evolcoder.evaluate.benchmarks.base import Benchmark, PromptStyle

BASE_STOPS = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\n```")
MBPP_STOPS = ("\nclass", "\nassert", '\n"""', "\nprint", "\nif", "\n```")
_SUSPICIOUS_SHARE = 0.3
_CODE = re.compile(r"^[ \t]*(?:def|return|class|import|from|for|if|while) ", re.MULTILINE)
_NATURAL_ENDS = ("stop", "length", "eos", "eos_token", "end_turn", "stop_sequence", "")
"""Reasons to end that are a model's own, or that have a warning of their own; samples of a file have none."""


def style_named(benchmark: Benchmark, name: str) -> PromptStyle:
    """The benchmark's style of that name; ``auto`` is ``chat``, which every instruct endpoint understands.

    Raises:
        SettingsError: the benchmark has none of that name.
    """
    for style in benchmark.styles:
        if style.name == ("chat" if name == "auto" else name):
            return style
    names = ", ".join(style.name for style in benchmark.styles)
    raise SettingsError(f"{benchmark.name} has no prompt style {name!r}; its styles: auto, {names}.")


def scoring_prompt(body: str, blank_lines: int) -> str:
    """The Alpaca format as the WizardCoder release writes it for scoring, with its own number of blank lines."""
    return f"{ALPACA_HEADER}{chr(10) * (blank_lines + 1)}### Instruction:\n{body}\n\n### Response:"


def script_prompt(task: str, blank_lines: int = 2) -> str:
    """How the release asks for a program that does a task, or that goes on from a prompt."""
    return scoring_prompt(f"Create a Python script for this problem:\n{tabbed(task)}", blank_lines)


def tabbed(text: str) -> str:
    """Each four spaces as a tab, as the WizardCoder release sends code."""
    return text.replace("    ", "\t")


def answer_warnings(style: PromptStyle, completions: Sequence[Completion]) -> list[str]:
    """What the answers say against the score: cut ones, and signs that the style does not fit the model."""
    total = len(completions)
    cut = [completion for completion in completions if completion.finish_reason == "length"]
    said = {id(completion): drop_thinking(completion.answer)[0] for completion in completions}
    fenced = [completion for completion in completions if "```" in completion.answer]
    if style.extraction == "stops" and len(fenced) > _SUSPICIOUS_SHARE * total:
        return [
            f"{len(fenced) / total:.0%} of the answers hold code fences, as a chat model's do; the style `{style.name}` cuts "
            "such answers short: use evaluate.style=chat."
        ]
    # A base model goes on with code where an instruct model would still be thinking or explaining.
    endless = [one for one in cut if "```" not in one.answer and _CODE.search(said[id(one)])]
    if style.extraction != "stops" and len(endless) > (1 - _SUSPICIOUS_SHARE) * total:
        return [
            f"{len(endless) / total:.0%} of the answers have no code fence and run to the token limit, as a base model's do; "
            "use evaluate.style=base."
        ]
    warnings = []
    silent = [completion for completion in completions if not said[id(completion)].strip()]
    lost = len(silent) if style.extraction == "stops" else len({id(completion) for completion in (*silent, *cut)})
    if lost:
        only = f", {len(silent)} of them before the answer itself began" if silent else ""
        warnings.append(f"{lost} of {total} answers were cut off{only}: raise evaluate.max_tokens.")
    for reason, count in Counter(completion.finish_reason for completion in completions).items():
        if reason not in _NATURAL_ENDS:
            warnings.append(f"{count} of {total} answers were ended by the endpoint with the reason {reason!r}.")
    return warnings


def replacement_warnings(replaced: int) -> list[str]:
    """What a reader must know of characters that no text can hold."""
    if not replaced:
        return []
    return [f"{replaced} characters in the answers were half a surrogate pair, which no file can hold: they are now U+FFFD."]
