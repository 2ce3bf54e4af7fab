"""Where seed and benchmark data come from: a file, a folder of files, or a data set on the hub, and the local copy of it.

A source is looked for where it says, then in the folder that ``EVOLCODER_DATA`` names, then, when it looks like
``owner/name`` or ``owner/name@revision``, on the hub. This module finds and fetches; what the rows mean is their
reader's to know.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from evolcoder.errors import DataError
from evolcoder.storage.folders import Folder

DATA_VARIABLE = "EVOLCODER_DATA"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")
_HUB_BOOKKEEPING = frozenset({"dataset_info.json", "dataset_dict.json", "state.json"})
"""What `datasets` writes beside the rows."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source, on any filesystem."""

    folder: Folder
    name: str

    def __str__(self) -> str:
        return str(self.folder / self.name)

    def read_bytes(self) -> bytes:
        """The whole file.

        Raises:
            DataError: it cannot be read.
        """
        try:
            return self.folder.read_bytes(self.name)
        except OSError as error:
            raise DataError(f"{self} cannot be read: {error.strerror or error}.") from None


@dataclass(frozen=True, slots=True)
class HubDataset:
    """A data set on the hub. ``revision`` is a commit, branch or tag; None is the newest."""

    id: str
    revision: str | None

    def __str__(self) -> str:
        return f"{self.id}@{self.revision}" if self.revision else self.id

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of the split ``train``, or of every split in order of name when there is none of that name.

        Raises:
            DataError: the `datasets` package is missing, or the hub has no such data set or cannot be reached.
        """
        splits = self.splits()
        names = ["train"] if "train" in splits else sorted(splits)
        for name in names:
            yield from splits[name]

    def splits(self) -> dict[str, Any]:
        """The rows by split.

        Raises:
            DataError: as ``rows``.
        """
        try:
            import datasets
            from datasets.exceptions import DatasetsError
            from huggingface_hub.errors import RevisionNotFoundError
        except ImportError:
            raise DataError(
                f"{self} is neither a file nor a folder here, so it is taken for a hub id, which needs the `datasets` "
                "package: install evolcoder[hub], or correct the path."
            ) from None
        datasets.disable_progress_bars()
        try:
            return dict(datasets.load_dataset(self.id, revision=self.revision))
        except RevisionNotFoundError:
            raise DataError(f"The data set {self.id} on the hub has no revision {self.revision!r}.") from None
        except (OSError, ValueError, DatasetsError) as error:
            raise DataError(
                f"{self} is neither a file nor a folder here and cannot be had from the hub "
                f"({' '.join(str(error).split())[:200]}): check its name and the network, or put a copy at "
                f"${DATA_VARIABLE}/{self}."
            ) from error


def find_source(text: str, suffixes: Sequence[str]) -> list[SourceFile] | HubDataset:
    """The files that ``text`` names, sorted, or the data set on the hub.

    Args:
        text: a file or folder (path or URI), or a hub id.
        suffixes: the kinds of file that count in a folder, e.g. ``.jsonl``.

    Raises:
        DataError: nothing of that name is there; the message says what was looked for.
    """
    places = [Folder.open(text)]
    local = os.environ.get(DATA_VARIABLE)
    if local and "://" not in text and not Path(text).expanduser().is_absolute():
        places.append(Folder.open(Path(local) / text))
    for place in places:
        try:
            kind = place.filesystem.get_file_info(place.path).type
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"{place} cannot be reached: {' '.join(str(error).split())[:300]}.") from None
        if kind == pafs.FileType.File:
            parent, _, name = place.path.rpartition("/")
            return [SourceFile(Folder(place.filesystem, parent), name)]
        if kind == pafs.FileType.Directory:
            names = [
                name
                for name in place.names(recursive=True)
                if name.endswith(tuple(suffixes))
                and name.rpartition("/")[2] not in _HUB_BOOKKEEPING
                and not any(part.startswith(".") for part in name.split("/"))
            ]
            if not names:
                raise DataError(f"The folder {place} holds no {', '.join(suffixes[:-1])} or {suffixes[-1]} file.")
            return [SourceFile(place, name) for name in names]
    if _HUB_ID.fullmatch(text) and not text.endswith(tuple(suffixes)):
        name, _, revision = text.partition("@")
        return HubDataset(name, revision or None)
    looked = " or ".join(str(place) for place in places)
    hint = "" if local else f"; a relative path is also looked for under ${DATA_VARIABLE}"
    raise DataError(f"There is no file or folder {looked}{hint}.")
