from __future__ import annotations

import pytest

from evolcoder.benchmark_table import BENCHMARKS
from evolcoder.errors import SettingsError
from evolcoder.evaluate.benchmarks import benchmark_named
from evolcoder.evaluate.benchmarks.base import Problem, PromptStyle
from evolcoder.evaluate.prompts import answer_warnings
from evolcoder.evaluate.prompts import style_named as named_style
from evolcoder.records import Completion

PROMPT = 'def f(x):\n    """Double.\n        >>> f(1)\n    """\n'
PROBLEM = Problem("HumanEval/0", PROMPT, "f", "", "")
MBPP = Problem("Mbpp/11", "Write a function.", "f", "", "assert f(1) == 2\nassert f(    2) == 3\n", "")


def style_named(name: str) -> PromptStyle:
    return named_style(benchmark_named("humaneval"), name)


def prompt_text(style: PromptStyle, problem: Problem) -> str:
    return style.render(problem)


def test_base_is_the_raw_prompt_with_its_last_newline() -> None:
    style = style_named("base")
    assert prompt_text(style, PROBLEM) == PROMPT
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


def test_wizardcoder_mbpp_to_the_byte() -> None:
    style = named_style(benchmark_named("mbpp"), "wizardcoder")
    assert style.render(MBPP) == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\nCreate a Python script for this problem:\n\nWrite a function.\nTest examples:\n"
        "assert f(1) == 2\nassert f(\t2) == 3\n\n### Response:"
    )
    long = Problem("Mbpp/493", "Write a function.", "f", "", "assert f(1) == 2\n", "")
    assert style.render(long).endswith(
        "Test examples:\ncalculate_polygons(startx, starty, endx, endy, radius)\n\n### Response:"
    )


def test_wizardcoder_mbpp_plus_to_the_byte() -> None:
    expected = (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n\n### Instruction:\nWrite a function. Your code should satisfy the following assertion:\n"
        "```python\nassert f(1) == 2\n```\n\n### Response:"
    )
    style = named_style(benchmark_named("mbpp+"), "wizardcoder")
    first = Problem("Mbpp/2", "'''\nWrite a function.\n'''", "f", "", "\nassert f(1) == 2\nassert f(2) == 3\n")
    assert style.render(first) == expected
    second = Problem("Mbpp/2", '"""\nWrite a function.\nassert f(1) == 2\n"""\n', "f", "", "")
    assert style.render(second) == expected


def test_mbpp_for_base_models() -> None:
    mbpp = benchmark_named("mbpp")
    docstring = named_style(mbpp, "base")
    assert docstring.render(MBPP) == '"""\nWrite a function.\nassert f(1) == 2\n"""\n'
    assert docstring.stops == ("\nclass", "\nassert", '\n"""', "\nprint", "\nif", "\n```")


def test_mbpp_few_shot_has_three_solved_tasks(data_folder: object) -> None:
    style = named_style(benchmark_named("mbpp"), "few-shot")
    text = style.render(MBPP)
    assert text.count("[BEGIN]") == 4
    assert text.count("[DONE]") == 3
    assert text.endswith("Your code should pass these tests:\n\nassert f(1) == 2\nassert f(    2) == 3\n[BEGIN]\n")
    assert "similar_elements" in text
    assert "\r" not in text
    assert style.stops == ("[DONE]",)


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_every_benchmark_has_a_chat_style_and_no_chat_style_has_stops(name: str) -> None:
    styles = benchmark_named(name).styles
    assert "chat" in {style.name for style in styles}
    assert len({style.prompt_id for style in styles}) == len(styles)
    assert all(style.stops == () for style in styles if style.api == "chat")


def test_chat_is_one_message_without_stops() -> None:
    style = style_named("chat")
    assert f"```python\n{PROMPT.rstrip()}\n```" in prompt_text(style, PROBLEM)
    assert (style.api, style.stops) == ("chat", ())


def test_auto_is_chat_and_unknown_names_are_refused() -> None:
    assert style_named("auto") == style_named("chat")
    with pytest.raises(SettingsError, match="its styles: auto, base, wizardcoder, chat"):
        style_named("few-shot")


def answers(text: str, finish_reason: str = "stop", count: int = 10) -> list[Completion]:
    return [Completion(str(n), 0, "", text, finish_reason, 0, 0) for n in range(count)]


def test_wrong_pairings_are_noticed_and_right_ones_are_not() -> None:
    base, chat = style_named("base"), style_named("chat")
    assert "evaluate.style=chat" in answer_warnings(base, answers("Sure!\n```python\nx\n```"))[0]
    assert "evaluate.style=base" in answer_warnings(chat, answers("    return x\n\ndef g", "length"))[0]
    assert answer_warnings(base, answers("    return x\n")) == []
    assert answer_warnings(chat, answers("```python\nx\n```")) == []
    assert answer_warnings(chat, answers("def f(x): return x")) == []
    assert answer_warnings(base, []) == []


@pytest.mark.parametrize(
    ("text", "reason", "said"),
    [
        ("", "length", "10 of 10 answers were cut off, 10 of them before the answer itself began: raise evaluate.max_tokens."),
        ("", "stop", "10 of 10 answers were cut off, 10 of them before the answer itself began: raise evaluate.max_tokens."),
        ("<think>\nHm, return x ", "length", "10 of them before the answer itself began: raise evaluate.max_tokens."),
        ("Let me think about this first", "length", "10 of 10 answers were cut off: raise evaluate.max_tokens."),
        ("```python\ndef f(", "length", "10 of 10 answers were cut off: raise evaluate.max_tokens."),
        (
            "```python\nx\n```",
            "content_filter",
            "10 of 10 answers were ended by the endpoint with the reason 'content_filter'.",
        ),
    ],
)
def test_what_is_said_of_cut_answers(text: str, reason: str, said: str) -> None:
    for style in ("chat", "wizardcoder"):
        (warning,) = answer_warnings(style_named(style), answers(text, reason))
        assert warning.endswith(said)
        assert "evaluate.style" not in warning


def test_one_cut_answer_of_many_is_said_and_a_base_models_are_not() -> None:
    some = [*answers("```python\nx\n```"), *answers("```python\nx", "length", 1)]
    assert answer_warnings(style_named("chat"), some) == ["1 of 11 answers were cut off: raise evaluate.max_tokens."]
    assert answer_warnings(style_named("base"), answers("    return x\n", "length")) == []
