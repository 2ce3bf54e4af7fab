from __future__ import annotations

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.errors import SettingsError
from evolcoder.evaluate.extraction import ExtractionId, cut_at_stops, extract, extraction_named
from evolcoder.evaluate.prompts import BASE_STOPS

CODE = "def f(x):\n    return x\n"
PIECES = st.sampled_from(
    [
        "```",
        "```python",
        "```py\n",
        "\n",
        "\r\n",
        "\t",
        "    ",
        CODE,
        "if __name__ == '__main__':",
        "# Example usage",
        "\ud800",
        "\0",
        "é",
        "`",
    ]
)
ODD_TEXT = st.text() | st.lists(PIECES | st.text(max_size=5), max_size=20).map("".join)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (CODE, CODE),
        (f"Sure:\n```python\n{CODE}```\nDone.", CODE),
        (f"Sure:\n```python\n{CODE}", CODE),
        (f"```\n{CODE}```", CODE),
        (f"```Python3\n{CODE}```", CODE),
        (f"```py\n{CODE}```\n```python\nother\n```", CODE),
        (f"```bash\npip install x\n```\n```python\n{CODE}```", CODE),
        ("   ```python\n   def f(x):\n       return x\n   ```", CODE),
        ("```python\r\ndef f(x):\r\n\treturn x\r\n```", CODE),
        (f"{CODE}\nif __name__ == \"__main__\":\n    f(1)\n", CODE),
        (f"{CODE}if  __name__=='__main__' :\n    f(1)\n", CODE),
        (f"{CODE}\n# Example usage:\nprint(f(1))\n", CODE),
        ("```python\nx = '''like ```this```'''\n```", "x = '''like ```this```'''\n"),
        ("```python\n    return x\n```", "    return x\n"),
    ],
)  # fmt: skip
def test_wizardcoder(answer: str, code: str) -> None:
    assert extract("wizardcoder", answer) == code


@pytest.mark.parametrize(
    "answer", ["", " \n\t", "```python\n```", "```python", "# Example usage\nf(1)", "if __name__ == '__main__':\n  f()"]
)
def test_no_code(answer: str) -> None:
    assert extract("wizardcoder", answer) is None


def test_stops_cut_at_the_first() -> None:
    answer = "    return x\n\nprint(f(1))\n\ndef g():\n"
    assert extract("stops", answer, BASE_STOPS) == "    return x\n"
    assert extract("stops", "    return x", BASE_STOPS) == "    return x"
    assert extract("stops", "\ndef g(): pass", BASE_STOPS) is None
    assert cut_at_stops("abc", ()) == "abc"


def test_none_changes_nothing() -> None:
    assert extract("none", "\r\t```x") == "\r\t```x"


@given(ODD_TEXT, st.sampled_from(["none", "stops", "wizardcoder"]))
def test_no_text_breaks_it(answer: str, extraction: ExtractionId) -> None:
    code = extract(extraction, answer, BASE_STOPS)
    assert code is None or code.strip()


@given(ODD_TEXT)
def test_wizardcoder_leaves_no_tab_guard_or_example(answer: str) -> None:
    code = extract("wizardcoder", answer) or ""
    assert "\t" not in code
    assert "\r" not in code
    assert "# Example usage" not in code
    assert extract("none", answer) in (answer, None)


def test_sanitize_takes_what_the_entry_point_needs() -> None:
    answer = "Sure!\n```python\nimport math\nx = 3\ndef g(a):\n    return a\ndef f(a):\n    return g(a)\n```\nprint(f(1))\n"
    assert extract("sanitize", answer, entry_point="f") == ("import math\ndef g(a):\n    return a\ndef f(a):\n    return g(a)")
    assert extract("sanitize", "no code at all here, sorry", entry_point="f") in (None, "no code at all here, sorry")


@hypothesis.settings(max_examples=40)
@given(ODD_TEXT)
def test_no_text_breaks_the_sanitizer(answer: str) -> None:
    code = extract("sanitize", answer, entry_point="f")
    assert code is None or code.strip()


def test_names_are_checked() -> None:
    assert extraction_named("stops") == "stops"
    with pytest.raises(SettingsError, match="extractions: none, stops, wizardcoder, ds1000, sanitize"):
        extraction_named("sanitise")
