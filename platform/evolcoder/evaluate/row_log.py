"""Answers and verdicts as they come, one JSON line each, so that a broken run does only what is missing.

A line carries a key, the hash of all that decides its row (for an answer: model, prompt, sampling, sample index), so that
what belongs to another question is never taken for it. A torn last line is ignored.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from evolcoder.records import Completion, Verdict
from evolcoder.storage.append_log import AppendLog
from evolcoder.storage.folders import Folder

R = TypeVar("R", Completion, Verdict)
_SEGMENT_LINES = 64
"""So many rows at most are lost by a kill where nothing can be appended to a file."""


class RowLog(AbstractContextManager["RowLog[R]"], Generic[R]):
    """The rows of one kind, those of earlier runs among them. Only one process at a time may append.

    Args:
        name: the log's, without ``.jsonl``.
        row_type: what each line holds.
    """

    def __init__(self, folder: Folder, name: str, row_type: type[R]) -> None:
        folder.make()
        self._log = AppendLog(folder, name, first_segment=len(folder.names(f"{name}-*.jsonl")))
        self.known: dict[str, R] = {}
        for segment in [*folder.names(f"{name}.jsonl"), *folder.names(f"{name}-*.jsonl")]:
            for line in folder.read_bytes(segment).splitlines():
                try:
                    row: dict[str, Any] = json.loads(line)
                    self.known[row["key"]] = row_type.from_row(row)
                except (ValueError, KeyError, TypeError):
                    continue  # torn by a kill: it is done again

    def __exit__(self, *_: object) -> None:
        self._log.close()

    def add(self, key: str, row: R) -> None:
        """Keep a row before anything is made of it.

        Raises:
            RunFolderError: the disk is full or gone.
        """
        self.known[key] = row
        self._log.append((json.dumps({"key": key, **row.to_row()}) + "\n").encode("ascii"))
        if len(self._log.waiting) >= _SEGMENT_LINES:
            self._log.cut()()
