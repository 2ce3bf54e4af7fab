"""Text and code without the differences that make no other task."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.evolve.copies.canonical import (
    FENCE,
    code_lines,
    defined_names,
    docstrings,
    renamed,
    shape,
    signatures,
    token_count,
    verbatim,
    without_numbers,
    words,
)

LOOP = "total = 0\nfor x in xs:\n    total += x\nreturn total\n"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("take 3 of 25 boxes", "take three of twenty-five boxes"),
        ("[1, 2, 3] is sorted", "[4, 5] is sorted"),
        ("at most 3.5 seconds", "at most 7 seconds"),
    ],
)
def test_numbers_are_one_whether_in_digits_or_words(one: str, other: str) -> None:
    assert without_numbers(words(one)) == without_numbers(words(other))
    assert words(one) != words(other)


def test_names_of_a_function_are_one_where_the_prose_speaks_of_them() -> None:
    one = 'def add(left, right: int = 3):\n    """left to right, as add(1, 2) does."""'
    other = 'def join(a1, b1: int = 3):\n    """a1 to b1, as join(1, 2) does."""'
    assert defined_names(one) == {"add", "left", "right"}
    assert defined_names(other) == {"join", "a1", "b1"}
    spoken = [without_numbers(words(docstrings(text)[0]), defined_names(text)) for text in (one, other)]
    assert spoken[0] == spoken[1] == ["@", "to", "@", "as", "@", "#", "does"]


def test_articles_are_no_names() -> None:
    assert without_numbers(["a", "list", "x"], {"list"}) == ["a", "@", "@"]


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ("", []),
        ("self, a, *args, b=(1, 2), **kwargs", ["a", "args", "b", "kwargs"]),
        ("numbers: List[Tuple[int, str]], threshold: float = 0.5", ["numbers", "threshold"]),
        ("f: Callable[[int, int], str], x", ["f", "x"]),
    ],
)
def test_parameters(parameters: str, names: list[str]) -> None:
    assert list(signatures(f"def f({parameters}): ...")) == [("f", tuple(names))]


def test_a_signature_leaves_self_out() -> None:
    assert list(signatures("class A:\n    def f(self, x: int) -> int:\n        pass")) == [("f", ("x",))]


def test_docstrings_of_functions_alone() -> None:
    assert docstrings('"""no"""\ndef f(\n    x,\n) -> int:\n    """yes"""\n    y = """no"""\ndef g(): pass') == ["yes"]


def test_fences_go_and_what_they_hold_stays() -> None:
    assert FENCE.sub("", "a\n```python\nb\n```\nc").split() == ["a", "b", "c"]


@pytest.mark.parametrize(
    "other",
    [
        "total=0\nfor x in xs:\n  total+=x\nreturn total",
        "    total = 0  # start\n    # go on\n    for x in xs:\n        total += x\n\n    return total\n",
        "total = 0; \nfor x in xs: total += x\nreturn (total)",
        "total = \\\n    0\nfor x in xs:\n    '''say'''\n    total += x\nreturn total",
        "total = (\n    0\n)\nfor x in (\n    xs\n):\n    total += x\nreturn total",
    ],
)
def test_layout_comments_and_parentheses_make_no_difference(other: str) -> None:
    assert verbatim(code_lines(other)) == verbatim(code_lines(LOOP))


@pytest.mark.parametrize(
    "other",
    [
        "total = 0\nfor x in xs:\n    total += x\n    return total\n",
        "total = 0\nfor x in xs:\n    total -= x\nreturn total\n",
        "total = 1\nfor x in xs:\n    total += x\nreturn total\n",
        "total = ''\nfor x in xs:\n    total += x\nreturn total\n",
    ],
)
def test_another_program_is_another(other: str) -> None:
    assert verbatim(code_lines(other)) != verbatim(code_lines(LOOP))


def test_names_and_literals_can_be_others_but_not_which_is_which() -> None:
    other = "s = 7\nfor item in things:\n    s += item\nreturn s\n"
    assert renamed(code_lines(other)) == renamed(code_lines(LOOP))
    mixed = "s = 7\nfor item in things:\n    item += s\nreturn s\n"
    assert renamed(code_lines(mixed)) != renamed(code_lines(LOOP))


def test_names_of_python_and_of_attributes_stay() -> None:
    assert shape(("len", "(", "x", ".", "append", ")")) == ("len", "@", ".", "append")
    assert shape(("f", "x", "f"), {}) == ("@0", "@1", "@0")


def test_strings_are_what_they_say_and_not_how_they_are_quoted() -> None:
    assert code_lines("x = 'a'") == code_lines('x = r"a"') == code_lines('x = """a"""')


def test_a_bracket_that_is_never_closed_swallows_no_more_than_its_paragraph() -> None:
    lines = code_lines("sad :( face\n\nx = 1\ny = [\nreturn x")
    assert [tokens for _, tokens in lines][-3:] == [("x", "=", "1"), ("y", "=", "["), ("return", "x")]


def test_tokens_are_counted_without_parentheses() -> None:
    assert token_count(code_lines("return (x)")) == token_count(code_lines("return x")) == 2


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    lines = code_lines(text)
    assert all(tokens and all(tokens) for _, tokens in lines)
    assert len(verbatim(lines)) == len(renamed(lines)) == len(lines)
    docstrings(text)
    defined_names(text)


@given(st.lists(st.sampled_from(["# x = 1", "#", "# it's \"so", "# def f(:", "#[(("]), min_size=4, max_size=4))
def test_comments_at_the_ends_of_lines_make_no_difference(comments: list[str]) -> None:
    commented = "\n".join(f"{line}  {comment}" for line, comment in zip(LOOP.splitlines(), comments, strict=True))
    assert verbatim(code_lines(commented)) == verbatim(code_lines(LOOP))
