"""The ledger of a run as a Ray actor, which all workers share.

What was spent before is read from the journal whenever the actor starts, so that neither a new run nor a restarted actor
forgets it; a pause or a rate that it had learned is learned again. The workers' side is in ``shared_limiter.py``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from evolcoder.endpoint.journal.reader import recorded_tokens
from evolcoder.endpoint.limits.ledger import Grant, Ledger, Report, TeacherLimits, Tokens
from evolcoder.storage.folders import Folder


class LimitsActor:
    """To be started with ``ray.remote``."""

    def __init__(self, limits: TeacherLimits, journal: Folder) -> None:
        spent = limits.usd(*recorded_tokens(journal)) if limits.budget_usd is not None else 0.0
        self._ledger = Ledger(limits, spent, time.monotonic())

    def exchange(self, report: Report, wanted: Sequence[Tokens]) -> Grant:
        """Take in what a worker has learned, and say how many of the wanted requests may go."""
        now = time.monotonic()
        self._ledger.take_in(report, now)
        return self._ledger.grant(wanted, now)
