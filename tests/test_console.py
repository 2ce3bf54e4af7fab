from __future__ import annotations

import io
import json
from contextlib import ExitStack

import pytest

from evolcoder.console import AbandonedError, Mode, Reporter, format_figure, format_seconds


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


@pytest.mark.parametrize("mode", ["plain", "json", "live"])
def test_several_at_once_say_of_which_each_line_is(mode: Mode) -> None:
    stream = io.StringIO()
    with Reporter(mode, stream).together() as together:
        reporters = [together.of(name) for name in ("first", "second")]
        for reporter in reporters:
            reporter.say("begins")
        with reporters[0].progress("steps", 2) as one, reporters[1].progress("steps", 2) as other:
            one.update(2)
            other.update(2)
        reporters[1].warn("is late")
    bars = () if mode == "live" else ("first: steps", "second: steps")  # a panel that is no terminal's shows how it ends
    for text in ("first: begins", "second: begins", *bars, "second: is late"):
        assert text in stream.getvalue()


@pytest.mark.parametrize("mode", ["plain", "live"])
def test_who_reports_when_nobody_waits_any_more_is_ended(mode: Mode) -> None:
    stream = io.StringIO()
    with ExitStack() as stack, Reporter(mode, stream).together() as together:
        left = together.of("left")
        progress = stack.enter_context(left.progress("rows", 9))
    with pytest.raises(AbandonedError):
        left.say("still here")
    with pytest.raises(AbandonedError):
        progress.update(1)
    assert "still here" not in stream.getvalue()


def test_watching_shows_all_once_and_then_what_changed_until_it_is_complete() -> None:
    looks = iter([
        ("r", ["stage", "state", "made"], [["a", "done", "9"], ["b", "to do", None]], False),
        ("r", ["stage", "state", "made"], [["a", "done", "9"], ["b", "at work: 1 of 2", "1s ago"]], False),
        ("r", ["stage", "state", "made"], [["a", "done", "9"], ["b", "at work: 1 of 2", "3s ago"]], False),
        ("r", ["stage", "state", "made"], [["a", "done", "9"], ["b", "done", "9"], ["c", "to do", None]], True),
    ])  # fmt: skip
    stream = io.StringIO()
    Reporter("plain", stream).watch(lambda: next(looks), 0.0)
    table, _, changes = stream.getvalue().partition("b      to do")
    assert "a      done" in table
    assert [line.strip() for line in changes.splitlines()[1:]] == ["b: at work: 1 of 2", "b: done", "c: to do"]


@pytest.mark.parametrize("mode", ["plain", "live"])
def test_ctrl_c_ends_watching(mode: Mode) -> None:
    def look() -> tuple[str, list[str], list[list[object]], bool]:
        raise KeyboardInterrupt

    Reporter(mode, io.StringIO()).watch(look, 0.0)
