"""What a user sees of evolving: figures while a round runs, the tables at the end, and the sentences around them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from evolcoder.console import Progress, Reporter
from evolcoder.endpoint.limits.ledger import TeacherLimits
from evolcoder.evolve.rounds.worker import RoundProgress, together
from evolcoder.settings.evolve import TeacherSettings
from evolcoder.settings.run import RunSettings
from evolcoder.storage.stage import Manifest, Stage

_POLL_SECONDS = 0.5


@contextmanager
def watching(
    read: Callable[[], Mapping[str, RoundProgress] | None], progress: Progress, limits: TeacherLimits, reporter: Reporter
) -> Iterator[None]:
    """Show the totals and warnings while the driver waits for Ray Data.

    ``read`` gives what each worker reports, or None when nothing can be learned.
    """
    over = threading.Event()

    def watch() -> None:
        shown = 0
        warned: set[str] = set()
        ended = False
        while not ended:
            ended = over.wait(_POLL_SECONDS)  # and look once more at the end
            reports = read()
            if reports is None:
                continue
            so_far = together(reports.values())
            for warning in sorted(so_far.warnings - warned):
                reporter.warn(warning)
            warned |= so_far.warnings
            totals = so_far.totals
            if rows_done(totals) > shown:
                show_totals(totals, progress, limits)
            shown = rows_done(totals)

    thread = threading.Thread(target=watch, name="evolve-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def rows_done(totals: Counter[str]) -> int:
    return totals["kept"] + totals["eliminated"] + totals["failed"]


def show_totals(totals: Counter[str], progress: Progress, limits: TeacherLimits) -> None:
    """The figures of a round so far."""
    figures: dict[str, object] = {name: totals[name] for name in ("kept", "eliminated", "failed", "requests")}
    if totals["replies_reused"]:
        figures["replies_reused"] = totals["replies_reused"]
    if totals["batch_requests"]:
        figures |= {name: totals[name] for name in ("batch_requests", "batch_replies")}
    figures["tokens"] = totals["prompt_tokens"] + totals["completion_tokens"]
    if limits.usd_per_million_input_tokens is not None:
        figures["usd"] = limits.usd(totals["prompt_tokens"], totals["completion_tokens"])
    progress.update(rows_done(totals), **figures)


def say_changes(totals: Counter[str], reasons: Counter[str], teacher: TeacherSettings, reporter: Reporter) -> None:
    """What became of replies on the way to their rows, and what to do about those that were cut."""
    if totals["replies_with_thinking"]:
        characters = f"{totals['thinking_characters']:,} characters, whose tokens are paid for and counted"
        reporter.say(f"the thinking in {totals['replies_with_thinking']:,} replies is left out ({characters})")
    if totals["replaced_characters"]:
        reporter.warn(f"halves of surrogate pairs in replies, each U+FFFD now: {totals['replaced_characters']:,}")
    if cut := reasons["truncated_instruction"] + reasons["truncated_response"]:
        reporter.warn(f"{cut:,} rows fell, for a reply was cut at {teacher.max_tokens:,} tokens; raise teacher.max_tokens")


def show_rounds(manifests: Sequence[Manifest], settings: RunSettings, reporter: Reporter) -> None:
    """The final tables: by operator and rule, and by round."""
    priced = settings.teacher.usd_per_million_input_tokens is not None
    rows: list[list[object]] = []
    totals: list[list[object]] = []
    for number, manifest in enumerate(manifests):
        summary = manifest.summary
        total = [number, kept_rows(manifest), summary.get("prompt_tokens", 0), summary.get("completion_tokens", 0)]
        totals.append([*total, round(summary.get("usd", 0.0), 4)] if priced else total)
        for operator, made in summary.get("operators", {}).items():
            eliminated = made["eliminated"]
            lengths = [round(made["mean_instruction_words"]), round(made["mean_response_words"])]
            tokens = made["prompt_tokens"] + made["completion_tokens"]
            row = [number, operator, made["kept"], sum(eliminated.values()), by_count(eliminated) or "-", *lengths, tokens]
            rows.append([*row, round(made["usd"], 4)] if priced else row)
    columns = ["round", "operator", "kept", "eliminated", "by rule", "words asked", "words answered", "tokens"]
    reporter.table("Evolved rows", [*columns, "USD"] if priced else columns, rows)
    columns = ["round", "kept", "prompt tokens", "completion tokens"]
    reporter.table("What it took", [*columns, "USD"] if priced else columns, totals)


def kept_rows(manifest: Manifest) -> int:
    """Rows of a finished round that were not eliminated."""
    return int(manifest.summary.get("kept", manifest.rows))


def by_count(reasons: Mapping[str, int]) -> str:
    """The reasons with their counts, the most frequent first."""
    return ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0])))


def say_why(stage: Stage, reporter: Reporter) -> None:
    """Why a round that is there is made again."""
    state = stage.state()
    if state.kind in ("stale", "damaged"):
        reporter.say(f"{stage.kind} is made again: {state.reason}; replies that were paid for are used again where they fit")
