"""What workers tell the shared ledger, with the ledger's reports looked at on their way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from evolcoder.endpoint.journal.epoch import Epoch
from evolcoder.endpoint.journal.writer import JournalWriter
from evolcoder.endpoint.limits.ledger import Grant, Report, TeacherLimits, Tokens
from evolcoder.endpoint.limits.shared_limiter import LimitsActor, SharedLimiter
from evolcoder.errors import EndpointError
from evolcoder.storage.folders import Folder

BODY = {"prompt": "q", "max_tokens": 5}


class Ledger:
    """A ``LimitsActor`` in this process, called as Ray calls one."""

    def __init__(self, limits: TeacherLimits, journal: Folder) -> None:
        self._actor = LimitsActor(limits, journal)
        self.reports: list[Report] = []
        self.exchange = self
        self.before: Callable[[], None] = lambda: None

    async def remote(self, report: Report, wanted: Sequence[Tokens]) -> Grant:
        self.reports.append(report)
        self.before()
        return self._actor.exchange(report, wanted)


def test_a_pause_ends_when_the_teacher_said_however_late_the_ledger_hears_of_it(tmp_path: Path) -> None:
    """A worker that waits tells what came meanwhile afterwards; counted from then, pauses would prolong one another."""
    folder, limits = Folder.open(str(tmp_path)), TeacherLimits()
    ledger = Ledger(limits, folder)

    async def ask() -> None:
        limiter = SharedLimiter(Epoch.claim(folder), limits, ledger, JournalWriter(folder, "01", 1))
        limiter.pause(0, 1.0, True)
        waiting = asyncio.ensure_future(limiter.acquire(BODY))
        await asyncio.sleep(0.1)  # the limiter waits for the end of the first pause by now
        limiter.pause(0, 1.0, True)
        assert (await waiting).endpoint == 0

    asyncio.run(ask())
    first, second = [pause for report in ledger.reports for pause in report.pauses]
    assert first.seconds <= 1.0
    assert second.seconds < 0.5


def test_a_worker_that_waits_learns_that_another_one_closed_the_last_endpoint(tmp_path: Path) -> None:
    """It sends nothing any more, and so would never find out by itself: it would wait for ever."""
    folder, limits = Folder.open(str(tmp_path)), TeacherLimits()
    ledger, reason = Ledger(limits, folder), EndpointError("The endpoint refuses the API key.")

    async def ask() -> None:
        epoch = Epoch.claim(folder)
        finds, waits = (SharedLimiter(epoch, limits, ledger, JournalWriter(folder, "01", 1)) for _ in range(2))
        finds.close(0, reason)
        finds.pause(0, 0.0, False)  # so that it has something to tell
        await asyncio.sleep(0.1)
        async with asyncio.timeout(20):
            await waits.acquire(BODY)

    with pytest.raises(EndpointError, match="refuses the API key"):
        asyncio.run(ask())


def test_what_was_granted_while_the_run_was_stopped_is_given_back(tmp_path: Path) -> None:
    folder, limits = Folder.open(str(tmp_path)), TeacherLimits()
    ledger, reason = Ledger(limits, folder), EndpointError("gone")

    async def ask() -> None:
        limiter = SharedLimiter(Epoch.claim(folder), limits, ledger, JournalWriter(folder, "01", 1))

        ledger.before = lambda: limiter.stop(reason)
        with pytest.raises(EndpointError, match="gone"):
            await limiter.acquire(BODY)
        await asyncio.sleep(0.1)

    asyncio.run(ask())
    assert [outcome.used for report in ledger.reports for outcome in report.outcomes] == [None]
