from __future__ import annotations

import pytest

from evolcoder.errors import SettingsError
from evolcoder.evaluate.prompts import pairing_warnings, prompt_text, style_named
from evolcoder.records import Completion

PROBLEM = 'def f(x):\n    """Double.\n        >>> f(1)\n    """\n'


def test_base_is_the_raw_prompt_with_its_last_newline() -> None:
    style = style_named("base")
    assert prompt_text(style, PROBLEM) == PROBLEM
    assert (style.api, style.extraction) == ("completions", "stops")
    assert style.stops == ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\n```")


def test_wizardcoder_to_the_byte() -> None:
    style = style_named("wizardcoder")
    assert prompt_text(style, PROBLEM) == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n\n### Instruction:\nCreate a Python script for this problem:\n"
        'def f(x):\n\t"""Double.\n\t\t>>> f(1)\n\t"""\n'
        "\n\n### Response:"
    )
    assert (style.api, style.stops, style.extraction) == ("completions", (), "wizardcoder")


def test_chat_is_one_message_without_stops() -> None:
    style = style_named("chat")
    assert f"```python\n{PROBLEM.rstrip()}\n```" in prompt_text(style, PROBLEM)
    assert (style.api, style.stops) == ("chat", ())


def test_auto_is_chat_and_unknown_names_are_refused() -> None:
    assert style_named("auto") == style_named("chat")
    with pytest.raises(SettingsError, match="styles: auto, base, wizardcoder, chat"):
        style_named("few-shot")


def answers(text: str, finish_reason: str = "stop", count: int = 10) -> list[Completion]:
    return [Completion(str(n), 0, "", text, finish_reason, 0, 0) for n in range(count)]


def test_wrong_pairings_are_noticed_and_right_ones_are_not() -> None:
    base, chat = style_named("base"), style_named("chat")
    assert "evaluate.style=chat" in pairing_warnings(base, answers("Sure!\n```python\nx\n```"))[0]
    assert "evaluate.style=base" in pairing_warnings(chat, answers("    return x\n\ndef g", "length"))[0]
    assert pairing_warnings(base, answers("    return x\n")) == []
    assert pairing_warnings(chat, answers("```python\nx\n```")) == []
    assert pairing_warnings(chat, answers("def f(x): return x")) == []
    assert pairing_warnings(base, []) == []
