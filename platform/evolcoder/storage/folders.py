"""Folders on any filesystem that pyarrow reaches: a local path, ``s3://``, ``gs://``, or whatever fsspec has a protocol for.

A failure of the filesystem comes out as one sentence. What the files mean is not known here.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from evolcoder.errors import RunFolderError


@dataclass(frozen=True)
class Folder:
    """A folder on some filesystem; picklable, so that Ray tasks can use it. Names inside it use ``/``.

    Bytes are read and written as they are: pyarrow would compress by a file's suffix, and hashes would not be the file's.
    """

    filesystem: pafs.FileSystem
    path: str

    @classmethod
    def open(cls, uri: str | os.PathLike[str]) -> Folder:
        """The folder at a local path or URI. It need not exist.

        Raises:
            RunFolderError: no filesystem is known for the URI.
        """
        text = os.fspath(uri)
        if "://" not in text:
            return cls(pafs.LocalFileSystem(), str(Path(text).expanduser().absolute()))
        try:
            try:
                return cls(*pafs.FileSystem.from_uri(text))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                import fsspec

                filesystem, path = fsspec.core.url_to_fs(text)
                return cls(pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)), path)
        except (OSError, ValueError, ImportError) as error:
            raise RunFolderError(f"{text} cannot be used as storage: {error}") from None

    def __truediv__(self, name: str) -> Folder:
        return Folder(self.filesystem, f"{self.path}/{name}")

    def __str__(self) -> str:
        if not self.is_local:
            return f"{self.filesystem.type_name.removeprefix('py::fsspec+')}://{self.path}"
        return shown_path(self.path)

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, pafs.LocalFileSystem)

    @property
    def local_path(self) -> Path:
        """The folder as a local path.

        Raises:
            RunFolderError: the folder is on another kind of filesystem.
        """
        if not self.is_local:
            raise RunFolderError(f"{self} must be a local folder for this; copy it to a disk first.")
        return Path(self.path)

    def exists(self, name: str = "") -> bool:
        return bool(self._info(name).type != pafs.FileType.NotFound)

    def size_bytes(self, name: str) -> int | None:
        """The size of a file, or None when there is no such file."""
        info = self._info(name)
        return int(info.size) if info.is_file else None

    def changed_at(self, name: str) -> float | None:
        """When a file was last written, in seconds since 1970; None when there is none, or the storage does not say."""
        info = self._info(name)
        return info.mtime_ns / 1e9 if info.is_file and info.mtime_ns is not None else None

    def _info(self, name: str) -> pafs.FileInfo:
        return self.filesystem.get_file_info(f"{self.path}/{name}" if name else self.path)

    def names(self, pattern: str = "*", recursive: bool = False) -> list[str]:
        """Names of the files here that match, relative to the folder, sorted; empty when there is no folder."""
        selector = pafs.FileSelector(self.path, allow_not_found=True, recursive=recursive)
        prefix = self.path.rstrip("/") + "/"
        files = (info.path for info in self.filesystem.get_file_info(selector) if info.is_file)
        whole = ("/" + path.lstrip("/") if prefix.startswith("/") else path for path in files)
        return sorted(fnmatch.filter((path.removeprefix(prefix) for path in whole), pattern))

    def make(self) -> Folder:
        """Create the folder and its parents; returns itself."""
        with explain_write_errors(self):
            self.filesystem.create_dir(self.path, recursive=True)
        return self

    def open_input(self, name: str) -> pa.NativeFile:
        return self.filesystem.open_input_file(f"{self.path}/{name}")

    def open_output(self, name: str) -> pa.NativeFile:
        return self.filesystem.open_output_stream(f"{self.path}/{name}", compression=None)

    def read_bytes(self, name: str) -> bytes:
        with self.filesystem.open_input_stream(f"{self.path}/{name}", compression=None) as stream:
            return bytes(stream.read())

    def read_text(self, name: str) -> str:
        return self.read_bytes(name).decode("utf-8")

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all: readers see the old content or the new, never a part."""
        with self.write_whole(name) as stream:
            stream.write(data)

    @contextmanager
    def write_whole(self, name: str) -> Iterator[pa.NativeFile]:
        """The same piece by piece: the file is there when the block ends well, and not before."""
        target = self / name
        with explain_write_errors(target):
            parent = target.path.rpartition("/")[0]
            self.filesystem.create_dir(parent, recursive=True)
            temporary = f"{parent}/.{target.path.rpartition('/')[2]}.{os.getpid()}.partial"
            try:
                with self.filesystem.open_output_stream(temporary, compression=None) as stream:
                    yield stream
                self.filesystem.move(temporary, target.path)
            except BaseException:
                if self.filesystem.get_file_info(temporary).type != pafs.FileType.NotFound:
                    self.filesystem.delete_file(temporary)
                raise

    def write_text(self, name: str, text: str) -> None:
        self.write_bytes(name, text.encode("utf-8"))

    def delete(self, name: str = "") -> None:
        """Delete a file or a folder with all it holds; nothing happens when it is not there."""
        target = f"{self.path}/{name}" if name else self.path
        kind = self._info(name).type
        if kind == pafs.FileType.File:
            self.filesystem.delete_file(target)
        elif kind == pafs.FileType.Directory:
            self.filesystem.delete_dir(target)

    def sha256(self, name: str) -> str:
        with self.filesystem.open_input_stream(f"{self.path}/{name}", compression=None) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def shown_path(path: str | os.PathLike[str]) -> str:
    """A local path as a person here would type it: relative when it is below the current folder."""
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else os.fspath(path)


@contextmanager
def explain_write_errors(where: Folder) -> Iterator[None]:
    """Turn a failure of the filesystem into one sentence."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise RunFolderError(
            f"{where} cannot be written ({reason}); nothing that was finished is lost: "
            "make room or mend the permissions, then run the same command again."
        ) from error
