"""Which run may send: an epoch is claimed by each run, and ends the right to send of every older one."""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from dataclasses import dataclass
from typing import Any

from evolcoder.errors import RunBusyError
from evolcoder.storage.append_log import SEGMENT_SECONDS
from evolcoder.storage.folders import Folder

_EPOCH = "epoch"
_TOKEN = "token"


@dataclass(frozen=True)
class Epoch:
    """A run's right to send requests; it ends when a newer run claims the journal."""

    folder: Folder
    number: int
    token: str

    @classmethod
    def claim(cls, folder: Folder) -> Epoch:
        """Take over the journal; workers of older epochs stop sending."""
        current = _read_epoch(folder)
        epoch = cls(folder, int(current.get("epoch", 0)) + 1, uuid.uuid4().hex)
        folder.write_text(_EPOCH, json.dumps({"epoch": epoch.number, "token": epoch.token}))
        return epoch


def journal_token(folder: Folder) -> str:
    """What names this journal and no other, wherever it lies; made at the first call."""
    if not folder.exists(_TOKEN):
        folder.write_text(_TOKEN, uuid.uuid4().hex)
    return folder.read_text(_TOKEN).strip()


@dataclass
class EpochCheck:
    """Asks, before each request, whether the epoch still holds: cheaply on local storage, once a second elsewhere."""

    epoch: Epoch
    _signature: object = None
    _checked_at: float = float("-inf")

    def check(self) -> None:
        """
        Raises:
            RunBusyError: a newer run has taken over.
        """
        folder, now = self.epoch.folder, time.monotonic()
        if folder.is_local:
            signature = None
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(f"{folder.path}/{_EPOCH}")
                # The file is replaced whole, so that a newer claim always shows as another inode or another time.
                signature = (status.st_ino, status.st_mtime_ns)
            if signature is not None and signature == self._signature:
                return
            self._signature = signature
        elif now - self._checked_at < SEGMENT_SECONDS:
            return
        self._checked_at = now
        if _read_epoch(folder).get("token") != self.epoch.token:
            raise RunBusyError("A newer run of the same name has taken over; this one sends nothing more. Look at that one.")


def _read_epoch(folder: Folder) -> dict[str, Any]:
    if not folder.exists(_EPOCH):
        return {}
    try:
        data = json.loads(folder.read_text(_EPOCH))
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
