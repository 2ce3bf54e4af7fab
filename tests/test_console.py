from __future__ import annotations

import io
import json

import pytest

from evolcoder.console import Reporter, format_figure, format_seconds


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0s"), (59.6, "1m 00s"), (185, "3m 05s"), (7800, "2h 10m")])
def test_durations_as_people_say_them(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (True, "yes"), (12345, "12,345"), (0.123456, "0.1235"), ("x", "x")])
def test_figures(value: object, text: str) -> None:
    assert format_figure(value) == text


def test_json_mode_prints_one_object_a_line() -> None:
    stream = io.StringIO()
    reporter = Reporter("json", stream)
    reporter.stage("Evolve")
    reporter.table("t", ["a", "b"], [[1, None]])
    with reporter.progress("rows", 2) as progress:
        progress.update(2, kept=1)
    reporter.finish(["x"], ["y"])
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["stage", "table", "progress", "finished"]
    assert events[1]["rows"] == [{"a": 1, "b": None}]
    assert events[2]["kept"] == 1


def test_plain_mode_shows_brackets_of_the_text_as_they_are() -> None:
    """Rich would read them as markup: a row's text must not vanish."""
    stream = io.StringIO()
    reporter = Reporter("plain", stream)
    reporter.say("a[0] = [bold]x[/bold]")
    reporter.table("t", ["c"], [["list[int]"]])
    assert "a[0] = [bold]x[/bold]" in stream.getvalue()
    assert "list[int]" in stream.getvalue()


def test_plain_progress_says_the_end_and_says_it_once() -> None:
    stream = io.StringIO()
    with Reporter("plain", stream).progress("rows", 3) as progress:
        for done in (0, 1, 2, 3, 3, 3):
            progress.update(done)
    assert stream.getvalue().count("rows 3/3") == 1
