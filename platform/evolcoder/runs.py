"""The run folder: where each stage keeps its files, and how a stage is known to be done.

A stage writes its files and then, last and atomically, a manifest that names each file with its SHA-256, the settings
it was made with and the manifests it was made from. A stage is done when its manifest is there, says what would be made
now, and its files verify. This module knows paths and manifests, not what the stages do.

Folders live on any filesystem that pyarrow reaches: a local path, ``s3://``, ``gs://``, or whatever fsspec has a
protocol for.
"""

from __future__ import annotations

import fcntl
import fnmatch
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

import pyarrow as pa
import pyarrow.fs as pafs
from pydantic import BaseModel, ConfigDict, ValidationError

from evolcoder.errors import RunBusyError, RunFolderError
from evolcoder.settings import RunSettings, fingerprint

MANIFEST = "manifest.json"
_CHUNK_BYTES = 1 << 20


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
            return cls(*pafs.FileSystem.from_uri(text))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return cls._open_fsspec(text)
        except OSError as error:
            raise RunFolderError(f"{text} cannot be used as storage: {error}") from None

    @classmethod
    def _open_fsspec(cls, uri: str) -> Folder:
        import fsspec

        try:
            filesystem, path = fsspec.core.url_to_fs(uri)
        except (ValueError, ImportError) as error:
            raise RunFolderError(f"{uri} cannot be used as storage: {error}") from None
        return cls(pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)), path)

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
        return int(info.size) if info.type == pafs.FileType.File else None

    def _info(self, name: str) -> pafs.FileInfo:
        return self.filesystem.get_file_info(f"{self.path}/{name}" if name else self.path)

    def names(self, pattern: str = "*", recursive: bool = False) -> list[str]:
        """Names of the files here that match, relative to the folder, sorted; empty when there is no folder."""
        selector = pafs.FileSelector(self.path, allow_not_found=True, recursive=recursive)
        prefix = self.path.rstrip("/") + "/"
        files = (i.path for i in self.filesystem.get_file_info(selector) if i.type == pafs.FileType.File)
        relative = ("/" + path.lstrip("/") if prefix.startswith("/") else path for path in files)
        return sorted(n for n in (path.removeprefix(prefix) for path in relative) if fnmatch.fnmatchcase(n, pattern))

    def make(self) -> Folder:
        """Create the folder and its parents; returns itself."""
        with _explained(self):
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
        with _explained(target):
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
        digest = hashlib.sha256()
        with self.filesystem.open_input_stream(f"{self.path}/{name}", compression=None) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()


def shown_path(path: str | os.PathLike[str]) -> str:
    """A local path as a person here would type it: relative when it is below the current folder."""
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else os.fspath(path)


@contextmanager
def _explained(where: Folder) -> Iterator[None]:
    """Turn a failure of the filesystem into one sentence."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise RunFolderError(
            f"{where} cannot be written ({reason}); nothing that was finished is lost: "
            "make room or mend the permissions, then run the same command again."
        ) from error


class FileEntry(BaseModel):
    """One file that a manifest vouches for. ``path`` is relative to the manifest's folder."""

    model_config = ConfigDict(frozen=True)

    path: str
    bytes: int
    sha256: str
    rows: int | None = None


class Manifest(BaseModel):
    """What a finished stage made, from what, and how.

    ``identity`` is the plain data that decides the outcome; ``inputs`` maps the name of each input to the content
    hash of its manifest. ``summary`` holds counts and costs for people; it decides nothing.
    """

    model_config = ConfigDict(frozen=True)

    stage: str
    identity: dict[str, Any]
    inputs: dict[str, str]
    files: list[FileEntry]
    summary: dict[str, Any] = {}
    versions: dict[str, str] = {}
    created_at: str

    @property
    def content_hash(self) -> str:
        """The same for two manifests whose files have the same names and bytes."""
        return fingerprint({"files": sorted([entry.path, entry.sha256] for entry in self.files)})

    @property
    def rows(self) -> int:
        return sum(entry.rows or 0 for entry in self.files)


@dataclass(frozen=True)
class StageState:
    """Whether a stage need run. ``reason`` says why in words, for ``stale`` and ``damaged``."""

    kind: Literal["missing", "stale", "damaged", "done"]
    reason: str = ""
    manifest: Manifest | None = None

    @property
    def done(self) -> bool:
        return self.kind == "done"


def describe_file(folder: Folder, name: str, rows: int | None = None) -> FileEntry:
    size = folder.size_bytes(name)
    if size is None:
        raise RunFolderError(f"{folder / name} should have been written and is not there.")
    return FileEntry(path=name, bytes=size, sha256=folder.sha256(name), rows=rows)


def publish_manifest(
    folder: Folder,
    stage: str,
    identity: Mapping[str, Any],
    inputs: Mapping[str, str],
    files: Iterable[FileEntry],
    summary: Mapping[str, Any] | None = None,
    packages: Iterable[str] = (),
) -> Manifest:
    """Write the manifest that makes a stage done. Call it when everything else is on disk.

    ``packages`` names the distributions whose versions matter to the outcome.
    """
    from importlib.metadata import version

    manifest = Manifest(
        stage=stage,
        identity=dict(identity),
        inputs=dict(inputs),
        files=sorted(files, key=lambda entry: entry.path),
        summary=dict(summary or {}),
        versions={name: version(name) for name in ("evolcoder", *packages)},
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    folder.write_text(MANIFEST, manifest.model_dump_json(indent=1))
    return manifest


def read_manifest(folder: Folder) -> Manifest | None:
    """The manifest as it stands, unverified; None when there is none.

    Raises:
        RunFolderError: the file is there and is no manifest.
    """
    if not folder.exists(MANIFEST):
        return None
    try:
        return Manifest.model_validate_json(folder.read_bytes(MANIFEST))
    except ValidationError:
        raise RunFolderError(f"{folder / MANIFEST} is damaged; delete it, and the stage is made again.") from None


def stage_state(folder: Folder, identity: Mapping[str, Any], inputs: Mapping[str, str]) -> StageState:
    """Whether the stage in ``folder`` is done for this identity and these inputs; verifies every file."""
    manifest = read_manifest(folder)
    if manifest is None:
        return StageState("missing")
    wanted = json.loads(json.dumps(identity))
    if manifest.identity != wanted:
        keys = sorted(k for k in {*manifest.identity, *wanted} if manifest.identity.get(k) != wanted.get(k))
        return StageState("stale", f"{', '.join(keys)} changed since it was made", manifest)
    if manifest.inputs != dict(inputs):
        names = sorted(k for k in {*manifest.inputs, *inputs} if manifest.inputs.get(k) != inputs.get(k))
        return StageState("stale", f"{', '.join(names)} changed since it was made", manifest)
    for entry in manifest.files:
        if folder.size_bytes(entry.path) != entry.bytes or folder.sha256(entry.path) != entry.sha256:
            return StageState("damaged", f"{entry.path} is missing or changed on disk", manifest)
    return StageState("done", manifest=manifest)


@dataclass(frozen=True)
class RunFolder:
    """``<storage>/<name>`` and the places inside it."""

    root: Folder

    @classmethod
    def open(cls, settings: RunSettings) -> RunFolder:
        return cls(Folder.open(settings.storage) / settings.name)

    def round(self, number: int) -> Folder:
        return self.root / f"rounds/{number:02d}"

    @property
    def journal(self) -> Folder:
        return self.root / "journal"

    @property
    def dataset(self) -> Folder:
        return self.root / "dataset"

    def train(self, data_rounds: int) -> Folder:
        return self.root / f"train/{data_rounds}"

    def evaluation(self, model: str, benchmark: str) -> Folder:
        return self.root / f"evaluate/{model}/{benchmark}"

    @property
    def report(self) -> Folder:
        return self.root / "report"

    def write_settings(self, settings: RunSettings) -> None:
        import yaml

        self.root.write_text("run.yaml", yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))

    @contextmanager
    def lock(self, stage: str) -> Iterator[None]:
        """Hold the run for one stage; the lock ends with the process, however it ends.

        Stages of one run may overlap, two of the same stage may not. Only local storage can be locked: elsewhere the
        journal's epoch keeps a second evolve from sending, and atomic manifests keep the files whole.

        Raises:
            RunBusyError: another process holds it.
        """
        if not self.root.is_local:
            yield
            return
        self.root.make()
        path = self.root.local_path / f".{stage}.lock"
        with _explained(self.root):
            file = path.open("a+", encoding="ascii")
        with file:
            self._hold(file, stage)
            yield

    def _hold(self, file: TextIO, stage: str) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise RunBusyError(
                f"Process {holder} is already running {stage} on {self.root}; wait for it or stop it, then try again."
            ) from None
        with _explained(self.root):
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
