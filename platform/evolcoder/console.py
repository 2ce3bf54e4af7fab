"""What a verb shows: live panels on a terminal, plain lines in a log, JSON lines for programs.

Stages say what happens through a ``Reporter`` and never print by themselves.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from evolcoder.exits import PROGRAM, program

Mode = Literal["live", "plain", "json"]
PLAIN_INTERVAL_SECONDS = 5.0


class Progress(Protocol):
    def update(self, done: int, **figures: object) -> None:
        """Say how many of the total are done; ``figures`` are shown beside it by name."""


class Reporter:
    """The one way from a stage to the user's eyes.

    Args:
        mode: ``live`` redraws panels, ``plain`` prints lines, ``json`` prints one JSON object a line. None: ``live`` on
            a terminal, else ``plain``.
        stream: where to write; standard output by default.
    """

    _prefix = ""
    """Of which of several things that go on at once the text is."""

    def __init__(self, mode: Mode | None = None, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self.mode: Mode = mode or ("live" if self._stream.isatty() else "plain")
        width = None if self.mode == "live" else 120
        self._console = Console(file=self._stream, highlight=False, width=width, soft_wrap=self.mode != "live")

    def stage(self, title: str) -> None:
        """A heading: a new stage begins."""
        self._emit("stage", {"title": title}, f"\n[bold]{title}[/bold]")

    def say(self, text: str) -> None:
        text = self._prefix + text
        self._emit("message", {"text": text}, f"  {escape(text)}")

    def warn(self, text: str) -> None:
        text = self._prefix + text
        self._emit("warning", {"text": text}, f"  [yellow]warning:[/yellow] {escape(text)}")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A small table; cells that are numbers are set right."""
        title = self._prefix + title
        records = [dict(zip(columns, row, strict=True)) for row in rows]
        self._emit("table", {"title": title, "rows": records}, "", _table(title, columns, rows))

    def finish(self, paths: Sequence[str] = (), next_commands: Sequence[str] = ()) -> None:
        """How every verb ends: what was written, and what to do next; commands are shown as they can be typed here."""
        next_commands = [re.sub(rf"^{PROGRAM}\b", lambda _: program(), command) for command in next_commands]
        shown = [
            f"  [bold]{label if index == 0 else '':<6}[/bold] {escape(line)}"
            for label, lines in (("Wrote", paths), ("Next", next_commands))
            for index, line in enumerate(lines)
        ]
        self._emit("finished", {"paths": list(paths), "next": next_commands}, *shown)

    def check_wanted(self) -> None:
        """Called now and then by what goes on for long in a thread of its own.

        Raises:
            AbandonedError: nobody waits for it any more.
        """

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Progress]:
        """A bar while something of known length goes on."""
        label = self._prefix + label
        if self.mode == "live":
            bar = _LiveProgress(self, label, total)
            with Live(bar, console=self._console, refresh_per_second=4):
                yield bar
        else:
            yield _LineProgress(self, label, total)

    def watch(self, look: Callable[[], tuple[str, Sequence[str], Sequence[Sequence[object]], bool]], seconds: float) -> None:
        """Show a table again and again, until it says that it is complete or Ctrl-C ends it: a panel on a terminal, elsewhere
        the rows whose first two cells have changed.

        Args:
            look: gives title, columns, rows, and whether nothing will change any more.
        """
        shown: dict[object, object] = {}
        live = Live(console=self._console, auto_refresh=False) if self.mode == "live" else nullcontext()
        with suppress(KeyboardInterrupt), live as panel:
            while True:
                title, columns, rows, complete = look()
                if panel is not None:
                    panel.update(_table(title, columns, rows), refresh=True)
                elif not shown:
                    self.table(title, columns, rows)
                else:
                    for row in rows:
                        if shown.get(row[0]) != row[1]:
                            self.say(f"{row[0]}: {row[1]}")
                shown = {row[0]: row[1] for row in rows}
                if complete:
                    return
                time.sleep(seconds)

    @contextmanager
    def together(self) -> Iterator[Together]:
        """While several things go on at once, each in a thread: reporters that say of which one each line is."""
        together = Together(self)
        live = Live(console=self._console, refresh_per_second=4, get_renderable=lambda: Group(*together.bars))
        with live if self.mode == "live" else nullcontext():
            try:
                yield together
            finally:
                together.ended = True

    def _emit(self, kind: str, data: Mapping[str, Any], *shown: RenderableType) -> None:
        if self.mode == "json":
            line = json.dumps({"event": kind, "time": round(time.time(), 3), **data})
            self._stream.write(f"{line}\n")  # in one piece: threads may write at once
        else:
            for one in shown:
                self._console.print(one)
        self._stream.flush()


@dataclass
class Together:
    """Gives each of several things that go on at once its reporter; on a terminal they share one panel."""

    whole: Reporter
    bars: list[RenderableType] = field(default_factory=list)
    ended: bool = False

    def of(self, name: str) -> Reporter:
        return _OneOfSeveral(self, name)


class AbandonedError(Exception):
    """Raised in a thread that reports on something which nobody waits for any more, so that it ends."""


class _OneOfSeveral(Reporter):
    def __init__(self, together: Together, name: str) -> None:
        super().__init__(together.whole.mode, together.whole._stream)
        self._together, self._prefix = together, f"{name}: "

    def check_wanted(self) -> None:
        if self._together.ended:
            raise AbandonedError

    def stage(self, title: str) -> None:
        self.say(title)

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Progress]:
        self.check_wanted()
        if self.mode != "live":
            with super().progress(label, total) as progress:
                yield progress
            return
        bar = _LiveProgress(self, self._prefix + label, total)
        self._together.bars.append(bar)
        try:
            yield bar
        finally:
            self._together.bars.remove(bar)

    def _emit(self, kind: str, data: Mapping[str, Any], *shown: RenderableType) -> None:
        self.check_wanted()
        self._together.whole._emit(kind, data, *shown)


@dataclass(eq=False)
class _LiveProgress:
    """What rich draws anew several times a second."""

    reporter: Reporter
    label: str
    total: int
    done: int = 0
    figures: Mapping[str, object] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def update(self, done: int, **figures: object) -> None:
        self.reporter.check_wanted()
        self.done, self.figures = done, figures

    def __rich__(self) -> RenderableType:
        bar, lines = Table.grid(padding=(0, 1)), Table.grid()
        drawn = ProgressBar(total=max(self.total, 1), completed=self.done, width=28)
        times = _times(self.done, self.total, time.monotonic() - self.started)
        bar.add_row(f"  {self.label}", drawn, f"{self.done}/{self.total}", times)
        lines.add_row(bar)
        if self.figures:
            lines.add_row(f"  [dim]{escape(_figures_text(self.figures))}[/dim]")
        return lines


class _LineProgress:
    """A line every few seconds, and at the end."""

    def __init__(self, reporter: Reporter, label: str, total: int) -> None:
        self._reporter, self._label, self._total = reporter, label, total
        self._started = self._printed = time.monotonic()
        self._complete = False

    def update(self, done: int, **figures: object) -> None:
        self._reporter.check_wanted()
        now = time.monotonic()
        just_completed = done >= self._total and not self._complete
        if not just_completed and now - self._printed < PLAIN_INTERVAL_SECONDS:
            return
        self._printed, self._complete = now, done >= self._total
        seconds = now - self._started
        data = {"label": self._label, "done": done, "total": self._total, "seconds": round(seconds, 1), **figures}
        times = _times(done, self._total, seconds)
        text = f"  {self._label} {done}/{self._total}  {times}  {escape(_figures_text(figures))}"
        self._reporter._emit("progress", data, text.rstrip())


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        numeric = all(isinstance(row[index], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(format_figure(cell)) for cell in row))
    return table


def format_seconds(seconds: float) -> str:
    """``42s``, ``3m 05s`` or ``2h 10m``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def format_figure(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return str(value)


def _figures_text(figures: Mapping[str, object]) -> str:
    return "  ".join(f"{name.replace('_', ' ')} {format_figure(value)}" for name, value in figures.items())


def _times(done: int, total: int, seconds: float) -> str:
    """How long it took so far, and how long the rest will take at that rate."""
    left = f", about {format_seconds(seconds / done * (total - done))} left" if 0 < done < total else ""
    return format_seconds(seconds) + left
