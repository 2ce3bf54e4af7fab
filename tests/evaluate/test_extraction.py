from __future__ import annotations

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.errors import SettingsError
from evolcoder.evaluate.extraction import ExtractionId, cut_at_stops, extract, extraction_named, future_imports, read_alike
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
        (f"```python\n{CODE.rstrip()}```\nDone.", CODE),
        ("```python\nx = \"like ```this```\"\n```", 'x = "like\n'),
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


@given(ODD_TEXT, st.sampled_from(["none", "stops", "wizardcoder", "chat", "ds1000"]))
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
    with pytest.raises(SettingsError, match="extractions: none, stops, wizardcoder, chat, ds1000, sanitize"):
        extraction_named("sanitise")


FUTURE = "from __future__ import annotations\n"


@pytest.mark.parametrize(
    ("code", "first", "rest"),
    [
        (CODE, "", CODE),
        (FUTURE + CODE, FUTURE, CODE),
        ('"""A module."""\n\n' + FUTURE + CODE, FUTURE, '"""A module."""\n\n' + CODE),
        ("# by me\nfrom __future__ import (\n    annotations,\n)\n" + CODE,
         "from __future__ import (\n    annotations,\n)\n", "# by me\n" + CODE),
        ("from __future__ import annotations; import math\n", "from __future__ import annotations; import math\n", ""),
        (FUTURE.rstrip(), FUTURE, ""),
        (FUTURE + "from __future__ import division\n" + CODE, FUTURE + "from __future__ import division\n", CODE),
        (CODE + FUTURE, "", CODE + FUTURE),
        ("x = '__future__'\n", "", "x = '__future__'\n"),
        (FUTURE + "def (", "", FUTURE + "def ("),
    ],
)  # fmt: skip
def test_what_must_come_first_is_told_apart(code: str, first: str, rest: str) -> None:
    assert future_imports(code) == (first, rest)


@given(ODD_TEXT | st.lists(st.sampled_from([FUTURE, CODE, '"""d"""\n', "\n", "#\n"])).map("".join))
def test_nothing_is_lost_of_what_must_come_first(code: str) -> None:
    first, rest = future_imports(code)
    assert sorted(line for line in (first + rest).split("\n") if line) == sorted(line for line in code.split("\n") if line)


@pytest.mark.parametrize(
    ("extraction", "answer", "alike"),
    [
        ("wizardcoder", f"```python\n{CODE}```", True),
        ("wizardcoder", f"```python\n{CODE.rstrip()}```", False),
        ("ds1000", f"```python\n{CODE.rstrip()}```", True),
        ("stops", FUTURE + CODE, False),
        ("none", "\ufeff" + CODE, False),
    ],
)
def test_which_answers_an_older_version_read_otherwise(extraction: str, answer: str, alike: bool) -> None:
    assert read_alike(extraction, answer) is alike
