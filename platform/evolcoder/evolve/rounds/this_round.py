"""A round about to be made, with what all rounds of its run share. Where its rows are evolved is not known here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evolcoder.endpoint.journal.epoch import Epoch
from evolcoder.endpoint.limits.ledger import TeacherLimits
from evolcoder.endpoint.requests import Endpoint
from evolcoder.evolve.rounds.worker import RoundJob
from evolcoder.evolve.rules.evolution import RoundPlan
from evolcoder.run.folder import RunFolder
from evolcoder.settings.run import RunSettings
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Stage


@dataclass(frozen=True)
class Teacher:
    """What all rounds of one run share. ``ledger`` is the handle of a ``LimitsActor``."""

    endpoints: Sequence[Endpoint]
    epoch: Epoch
    limits: TeacherLimits
    ledger: Any


@dataclass(frozen=True)
class Round:
    """``rows`` is how many its pool has."""

    settings: RunSettings
    run: RunFolder
    number: int
    stage: Stage
    partitions: int
    rows: int
    teacher: Teacher

    @property
    def earlier(self) -> list[Folder]:
        return [self.run.round(number) for number in range(self.number)]

    @property
    def attempt(self) -> Folder:
        """Where the evolved rows lie until they are merged."""
        return self.run.root / f"attempts/{self.number:02d}-{self.teacher.epoch.number:06d}"

    def job(self, concurrency: int) -> RoundJob:
        return RoundJob(
            plan=RoundPlan(self.number, self.settings.evolve, self.settings.teacher, self.teacher.endpoints[0].model),
            endpoints=tuple(self.teacher.endpoints),
            concurrency=concurrency,
            journal=self.run.journal,
            part=f"{self.number:02d}",
            epoch=self.teacher.epoch,
            limits=self.teacher.limits,
        )
