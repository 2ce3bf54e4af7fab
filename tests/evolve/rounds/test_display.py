"""What a run shows while it goes on; the tables at its end are looked at in test_pipeline.py."""

from __future__ import annotations

import io
from collections import Counter

from evolcoder.console import Reporter
from evolcoder.endpoint.limits.ledger import TeacherLimits
from evolcoder.evolve.rounds.display import by_count, watching
from evolcoder.evolve.rounds.worker import RoundProgress


def so_far(kept: int, asked: int = 0, answered: int = 0, warnings: frozenset[str] = frozenset()) -> RoundProgress:
    totals = Counter(kept=kept, requests=2 * kept, prompt_tokens=1000 * kept, completion_tokens=500 * kept)
    totals.update(batch_requests=asked, batch_replies=answered)
    return RoundProgress(totals, None, set(warnings))


def watched(readings: list[RoundProgress | None], limits: TeacherLimits) -> str:
    """What is said while the readings come one after the other; the last of them when all is over."""
    said = io.StringIO()
    reporter = Reporter("plain", said)
    boards = [None if reading is None else {"worker": reading} for reading in readings]
    left = iter(boards[:-1])
    with reporter.progress("round 01", 4) as progress, watching(lambda: next(left, boards[-1]), progress, limits, reporter):
        pass
    return said.getvalue()


def test_the_last_look_is_shown_with_what_it_cost() -> None:
    prices = TeacherLimits(usd_per_million_input_tokens=1.0, usd_per_million_output_tokens=2.0)
    said = watched([so_far(4)], prices)
    assert "4/4" in said
    assert "requests 8" in said
    assert "tokens 6,000" in said
    assert "usd 0.008" in said
    assert "batch" not in said
    assert "usd" not in watched([so_far(4)], TeacherLimits())


def test_batches_are_shown_where_there_are_some() -> None:
    said = watched([so_far(4, asked=9, answered=5)], TeacherLimits())
    assert "batch requests 9" in said
    assert "batch replies 5" in said


def test_a_board_out_of_reach_says_nothing() -> None:
    assert "kept" not in watched([None], TeacherLimits())


def test_a_warning_is_said() -> None:
    assert "an endpoint is out of use" in watched(
        [so_far(4, warnings=frozenset({"an endpoint is out of use"}))], TeacherLimits()
    )


def test_reasons_come_by_their_number() -> None:
    assert by_count({"empty": 2, "copied": 2, "short": 1200}) == "short 1,200, copied 2, empty 2"
