"""Answers and verdicts as they come, one JSON line each, so that a broken run does only what is missing.

A line carries a key, the hash of all that decides its row (for an answer: model, prompt, sampling, sample index), so that
what belongs to another question is never taken for it. A torn last line is ignored.
"""

from __future__ import annotations

import errno
import json
from io import FileIO
from types import TracebackType
from typing import Any, Generic, TypeVar

from evolcoder.errors import RunFolderError
from evolcoder.records import Completion, Verdict
from evolcoder.storage.folders import Folder

R = TypeVar("R", Completion, Verdict)
_SEGMENT_LINES = 64


class RowLog(Generic[R]):
    """Appends to one file on a local disk; elsewhere, where nothing can be appended to, writes a new file now and then.

    Args:
        name: the file's, without ``.jsonl``.
        row_type: what each line holds.
    """

    def __init__(self, folder: Folder, name: str, row_type: type[R]) -> None:
        self._folder = folder.make()
        self._name = name
        self._row_type: type[R] = row_type
        self._log = f"{name}.jsonl"
        self._file: FileIO | None = None
        self._waiting: list[str] = []
        self._segments = len(folder.names(f"{name}-*.jsonl"))
        self.known: dict[str, R] = self._read()

    def __enter__(self) -> RowLog[R]:
        if self._folder.is_local:
            torn = self._folder.exists(self._log) and not self._folder.read_bytes(self._log).endswith(b"\n")
            self._file = (self._folder.local_path / self._log).open("ab", buffering=0)
            if torn:
                self._write("\n")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._write_segment()
        if self._file is not None:
            self._file.close()

    def add(self, key: str, row: R) -> None:
        """Keep a row before anything is made of it.

        Raises:
            RunFolderError: the disk is full or gone.
        """
        self.known[key] = row
        line = json.dumps({"key": key, **row.to_row()}) + "\n"
        if self._file is not None:
            self._write(line)
            return
        self._waiting.append(line)
        if len(self._waiting) >= _SEGMENT_LINES:
            self._write_segment()

    def _write(self, text: str) -> None:
        assert self._file is not None
        try:
            written = self._file.write(text.encode("ascii"))
            if written != len(text):
                raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RunFolderError(
                f"{self._folder / self._log} cannot be written ({error.strerror or error}); what was finished is kept: "
                "make room, then run the same command again."
            ) from error

    def _write_segment(self) -> None:
        if self._waiting:
            self._folder.write_text(f"{self._name}-{self._segments:06d}.jsonl", "".join(self._waiting))
            self._segments += 1
            self._waiting.clear()

    def _read(self) -> dict[str, R]:
        known: dict[str, R] = {}
        for name in [*self._folder.names(self._log), *self._folder.names(f"{self._name}-*.jsonl")]:
            for line in self._folder.read_bytes(name).splitlines():
                try:
                    row: dict[str, Any] = json.loads(line)
                    known[row["key"]] = self._row_type.from_row(row)
                except (ValueError, KeyError, TypeError):
                    continue  # torn by a kill: it is done again
        return known
