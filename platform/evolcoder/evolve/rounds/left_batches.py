"""The Batch API in a round: whose its batches are, and what a run that was killed left with the endpoint."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from evolcoder.endpoint.batch_client import collect
from evolcoder.endpoint.journal.epoch import Epoch, journal_token
from evolcoder.endpoint.journal.reader import JournalReader
from evolcoder.endpoint.journal.writer import JournalWriter
from evolcoder.endpoint.requests import Endpoint
from evolcoder.settings import TeacherSettings
from evolcoder.storage.folders import Folder


@dataclass(frozen=True)
class Batches:
    """That requests go by batches: whose these are, and how often they are looked at."""

    owner: str
    poll_seconds: float


def batches_of(teacher: TeacherSettings, journal: Folder, part: str) -> Batches | None:
    """The batches of one part of a journal; None when requests do not go by batches."""
    return Batches(f"{journal_token(journal)}/{part}", teacher.batch_poll_seconds) if teacher.batch else None


def take_left_replies(batches: Batches, endpoint: Endpoint, journal: Folder, part: str, epoch: Epoch) -> int:
    """Put the replies of all batches that earlier runs left into the journal; returns how many.

    Raises:
        EndpointError: the endpoint cannot be used. RunFolderError: the journal cannot be written.
    """
    if not journal.exists(part):
        return 0
    paid = JournalReader(journal, part)

    async def take() -> int:
        writer = JournalWriter(journal, part, epoch.number)
        try:
            return await collect(endpoint, batches.owner, batches.poll_seconds, lambda key: key in paid, writer.append)
        finally:
            await writer.close()

    return asyncio.run(take())
