"""Thinking is dropped whole, and nothing of an answer with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.text.thinking import KNOWN_MARKS, drop_thinking

CODE = "```python\ndef f(x):\n    return x\n```"
DRAFT = "Let me see.\n```python\ndef draft(): pass\n```\nHmm."


@pytest.mark.parametrize(("opening", "closing"), KNOWN_MARKS)
@pytest.mark.parametrize("between", ["\n\n", "\n", ""])
def test_every_known_pair_of_marks(opening: str, closing: str, between: str) -> None:
    text = f"{opening}\n{DRAFT}\n{closing}{between}{CODE}"
    assert drop_thinking(text) == (CODE, len(text) - len(CODE))
    assert drop_thinking(f"\n {text}")[0] == CODE


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (f"Okay, let me think.\n</think>\n\n{CODE}", CODE),
        (f"Okay, I am done.</think>\n\n{CODE}", CODE),
        (f"Okay. The `<think>` part should end here.\n</think>\n\n{CODE}", CODE),
        (f"Okay.\n```python\ndef unfinished(\n</think>\n\n{CODE}", CODE),
        (f"<think>\n\n</think>\n\n{CODE}", CODE),
        (f"<THINK>so</Think>{CODE}", CODE),
        (f"<think>one</think>\n<think>two</think>\n{CODE}", CODE),
        (f"<think>a\n<think>b</think>\nc</think>\n{CODE}", CODE),
        (f"<think>I saw\n<think>\nin the prompt.</think>\n{CODE}", CODE),
        (f"<think>It ends with `</think>`, I know.</think>\n{CODE}", CODE),
        (f"<think>a</think>\n</think>\n\n{CODE}", CODE),
        (f"<think>\n```python\ndraft\n```</think>\n{CODE}", CODE),
        (f"Hm.\n```\ndraft\n```</think>\n\n{CODE}", CODE),
        (f"<think>a</think>\n{CODE}\n</think>", f"{CODE}\n"),
        (f"Sure!\n<think>\nwell\n</think>\n{CODE}", f"Sure!\n\n{CODE}"),
        (f"<think>a</think><answer>\n{CODE}\n</answer>", f"{CODE}\n"),
        ("<think>a</think>\n\n    return x\n", "    return x\n"),
        ('<think>a</think>\n"""A module."""\nx = 1', '"""A module."""\nx = 1'),
        ("<think>It never ends, for it was cut", ""),
        ("It ended, and no answer came.\n</think>\n", ""),
    ],
)
def test_shapes_of_thinking(text: str, answer: str) -> None:
    assert drop_thinking(text) == (answer, len(text) - len(answer))


@pytest.mark.parametrize(
    "text",
    [
        CODE,
        "",
        "analysis = 1\nprint(analysis)",
        "Here is my thought process: I added them.\n" + CODE,
        "```python\ndef f(text):\n    return re.sub(r'<think>.*?</think>', '', text)\n```",
        "```python\ndef f(text):\n    return text.split('</think>')[-1]\n```",
        '```python\ndef f(text):\n    """Drop <think>...</think> from text."""\n    return text\n```',
        'def f(text):\n    """Drop <think>...</think> from text."""\n    return text.partition("</think>")[2]',
        "```python\nTEXT = '''\n<think>\nso\n</think>\nyes'''\n```",
        "```python\nTEXT = '''\nso\n</think>\nyes'''\n```",
        "The tag `<think>` opens, and `</think>` closes.",
    ],
)
def test_what_an_answer_says_of_marks_is_kept(text: str) -> None:
    assert drop_thinking(text) == (text, 0)


def test_marks_of_ones_own_are_told_apart_by_their_brackets() -> None:
    assert drop_thinking("<plan>a</plan>\nb", [("<plan>", "</plan>")]) == ("b", 15)
    assert drop_thinking("Plan: a\nDone: b", [("Plan:", "Done:")]) == ("b", 14)
    assert drop_thinking("Plan: a", [("Plan:", "Done:")]) == ("Plan: a", 0)
    assert drop_thinking("<think>a</think>b", []) == ("<think>a</think>b", 0)


_pieces = st.sampled_from([*(word for pair in KNOWN_MARKS for word in pair), "\n", "```", " x ", "'", "    y"])


@given(st.lists(_pieces, max_size=12).map("".join))
def test_any_text_keeps_only_what_was_there(text: str) -> None:
    answer, dropped = drop_thinking(text)
    assert len(answer) == len(text) - dropped
    rest = iter(text)
    assert all(character in rest for character in answer), "what is left is in the text, in its order"


_plain = st.text(st.characters(exclude_characters="<[◁"), max_size=60)


@given(_plain, st.text(st.characters(exclude_characters="<[◁"), max_size=60).filter(lambda text: text == text.strip()))
def test_any_thinking_is_dropped_whole_from_any_answer(thinking: str, answer: str) -> None:
    assert drop_thinking(f"<think>{thinking} </think>\n\n{answer}")[0] == answer
    assert drop_thinking(answer) == (answer, 0)
