"""evalplus is the one that was read: its private parts may change with any release."""

from __future__ import annotations

from importlib.metadata import version

from evolcoder.evaluate import evalplus_adapter as adapter


def test_the_version_is_the_one_that_was_read() -> None:
    assert version("evalplus") == adapter.READ_IN, (
        "evalplus has another version: read its eval/_special_oracle.py, data/mbpp.py and sanitize.py again, compare verdicts "
        "with `python -m benchmarks.parity`, then set READ_IN in evaluate/evalplus_adapter.py"
    )


def test_the_oracles_say_what_they_said() -> None:
    assert adapter.polynomial([-4.0, 0.0, 1.0], 2.0) == 0.0
    assert adapter.surface_area(3, 4) == 35
    assert adapter.digit_distance(123, 256) == 7
    assert {"similar_elements", "find_dissimilar"} <= adapter.SET_TASKS
    assert "check_str" in adapter.NOT_NONE_TASKS


def test_what_json_cannot_hold_is_restored() -> None:
    assert adapter.restored_mbpp_inputs("Mbpp/2", [[[3, 4], [5, 4]]]) == [[(3, 4), (5, 4)]]
    assert adapter.restored_mbpp_inputs("Mbpp/252", [["1+2j"]]) == [[complex(1, 2)]]


def test_the_sanitizer_takes_what_the_entry_point_needs_and_never_fails() -> None:
    answer = "Here:\nimport math\ndef f(x):\n    return math.floor(x)\ndef g():\n    pass\n"
    assert adapter.sanitized(answer, "f").split("\n")[:2] == ["import math", "def f(x):"]
    assert "def g" not in adapter.sanitized(answer, "f")
    assert adapter.sanitized("\ud800 \x00", "f").strip() == ""
