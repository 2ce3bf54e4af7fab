"""The answers of a model as they come, one JSON line each, so that a broken run asks only for what is missing.

A line carries the hash of the whole question (model, prompt, sampling, sample index), so that an answer to another
question is never taken for it. A torn last line is ignored.
"""

from __future__ import annotations

import errno
import json
from io import FileIO
from types import TracebackType
from typing import Any

from evolcoder.errors import RunFolderError
from evolcoder.records import Completion
from evolcoder.runs import Folder

_LOG = "answers.jsonl"
_SEGMENT = "answers-{:06d}.jsonl"
_SEGMENT_LINES = 64


class AnswerLog:
    """Appends to one file on a local disk; elsewhere, where nothing can be appended to, writes a new file now and then."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder.make()
        self._file: FileIO | None = None
        self._waiting: list[str] = []
        self._segments = len(folder.names("answers-*.jsonl"))
        self.known = self._read()

    def __enter__(self) -> AnswerLog:
        if self._folder.is_local:
            torn = self._folder.exists(_LOG) and not self._folder.read_bytes(_LOG).endswith(b"\n")
            self._file = (self._folder.local_path / _LOG).open("ab", buffering=0)
            if torn:
                self._write("\n")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._write_segment()
        if self._file is not None:
            self._file.close()

    def add(self, key: str, completion: Completion) -> None:
        """Keep an answer before anything is made of it.

        Raises:
            RunFolderError: the disk is full or gone.
        """
        self.known[key] = completion
        line = json.dumps({"key": key, **completion.to_row()}) + "\n"
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
                f"{self._folder / _LOG} cannot be written ({error.strerror or error}); the answers so far are kept: make room, "
                "then run the same command again."
            ) from error

    def _write_segment(self) -> None:
        if self._waiting:
            self._folder.write_text(_SEGMENT.format(self._segments), "".join(self._waiting))
            self._segments += 1
            self._waiting.clear()

    def _read(self) -> dict[str, Completion]:
        known: dict[str, Completion] = {}
        for name in self._folder.names("answers*.jsonl"):
            for line in self._folder.read_bytes(name).splitlines():
                try:
                    row: dict[str, Any] = json.loads(line)
                    known[row["key"]] = Completion.from_row(row)
                except (ValueError, KeyError, TypeError):
                    continue  # torn by a kill: it is asked for again
        return known
