"""How a stage of a run is known to be done: by its manifest.

A stage writes its files and then, last and atomically, a manifest that names each file with its SHA-256, the settings
it was made with and the manifests it was made from. A stage is done when its manifest is there, says what would be made
now, and its files verify. What a stage makes is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from evolcoder.errors import RunFolderError
from evolcoder.storage.folders import Folder
from evolcoder.storage.hashes import fingerprint

MANIFEST = "manifest.json"


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

    def damage(self, folder: Folder) -> str | None:
        """What is wrong with the files that it vouches for, in words; None when all are there as they were."""
        for entry in self.files:
            if folder.size_bytes(entry.path) != entry.bytes or folder.sha256(entry.path) != entry.sha256:
                return f"{entry.path} is missing or changed on disk"
        return None


@dataclass(frozen=True)
class StageState:
    """Whether a stage need run. ``reason`` says why in words, for ``stale`` and ``damaged``."""

    kind: Literal["missing", "stale", "damaged", "done"]
    reason: str = ""
    manifest: Manifest | None = None

    @property
    def done(self) -> bool:
        return self.kind == "done"


@dataclass(frozen=True)
class Stage:
    """One stage of a run: where it lies, what decides it, and what it is made from.

    ``identity`` is the plain data that decides the outcome. ``inputs`` maps the name of each input to the stage that makes
    it, or to the content hash of what no stage makes. Either may be a function, called when it is first needed: seeds and
    models are then read only for a question that depends on them.

    A stage is made between ``begin`` and ``publish``. The manifest goes first and comes last, so that a process that is
    killed anywhere in between leaves a stage that is not done, never one whose manifest vouches for other files.
    """

    kind: str
    """What the manifest says it is."""
    folder: Folder
    identity: Mapping[str, Any] | Callable[[], Mapping[str, Any]]
    inputs: Mapping[str, Source] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    """Distributions whose versions matter to the outcome; the manifest records them."""
    told: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None
    """What of the identity the settings tell, for those who only look: nothing heavy is read or imported for it. None: all, if
    the identity is no function, else nothing.
    """

    @cached_property
    def resolved_identity(self) -> dict[str, Any]:
        """The identity as it reads back from a manifest: plain JSON."""
        identity = self.identity() if callable(self.identity) else self.identity
        return dict(json.loads(json.dumps(identity)))

    def manifest(self) -> Manifest | None:
        """What its manifest says, unverified; None when there is none.

        Raises:
            RunFolderError: the file is there and is no manifest.
        """
        return read_manifest(self.folder)

    def content_hash(self) -> str:
        """The content hash of what is there.

        Raises:
            RunFolderError: it is not made yet.
        """
        manifest = self.manifest()
        if manifest is None:
            raise RunFolderError(f"{self.folder} is not made yet; run the verb that makes it first.")
        return manifest.content_hash

    def input_hashes(self) -> dict[str, str]:
        """The content hash of each input as it is now.

        Raises:
            RunFolderError: a stage that it is made from is not made yet.
        """
        found = {name: source.content_hash if isinstance(source, Stage) else source for name, source in self.inputs.items()}
        return {name: source() if callable(source) else source for name, source in found.items()}

    def pinned(self) -> Stage:
        """The same stage with identity and inputs as they are now: what takes long must say what it was really made from."""
        return replace(self, identity=self.resolved_identity, inputs=self.input_hashes())

    def state(self) -> StageState:
        """Whether it need be made; verifies every file."""
        manifest = self.manifest()
        if manifest is None:
            return StageState("missing")
        if manifest.identity != self.resolved_identity:
            return StageState("stale", _changed(manifest.identity, self.resolved_identity), manifest)
        try:
            hashes = self.input_hashes()
        except RunFolderError as error:
            return StageState("stale", error.message.rstrip("."), manifest)
        if manifest.inputs != hashes:
            return StageState("stale", _changed(manifest.inputs, hashes), manifest)
        damage = manifest.damage(self.folder)
        return StageState("done" if damage is None else "damaged", damage or "", manifest)

    def changed_inputs(self, manifest: Manifest) -> list[str]:
        """Inputs that other stages make and that are not what this manifest says, or all that it names where those are others
        altogether; reads manifests alone.
        """
        if self.inputs and not set(self.inputs) & set(manifest.inputs):
            return sorted(manifest.inputs)
        sources = {name: source.manifest() for name, source in self.inputs.items() if isinstance(source, Stage)}
        hashes = {name: None if source is None else source.content_hash for name, source in sources.items()}
        return [name for name, content_hash in hashes.items() if manifest.inputs.get(name) != content_hash]

    def changed_settings(self, manifest: Manifest) -> list[str]:
        """What of the identity is not as this manifest says, as far as the settings tell."""
        told = self.told() if callable(self.told) else self.told
        if told is None:
            told = {} if callable(self.identity) else self.identity
        wanted = json.loads(json.dumps(told)).items()
        return sorted(key for key, value in wanted if key in manifest.identity and manifest.identity[key] != value)

    def begin(self, *leftovers: str) -> Folder:
        """Take the manifest away, and then what an earlier making left: names or patterns of files, names of folders."""
        self.folder.delete(MANIFEST)
        for name in leftovers:
            for found in self.folder.names(name) or [name]:
                self.folder.delete(found)
        return self.folder.make()

    def take_over(self, folder: Folder) -> bool:
        """Copy what lies in another folder, if it is what this stage would make; returns whether it was."""
        there = replace(self, folder=folder, identity=self.resolved_identity).state()
        if there.manifest is None or not there.done:
            return False
        self.begin()
        for entry in there.manifest.files:
            self.folder.write_bytes(entry.path, folder.read_bytes(entry.path))
        self.folder.write_text(MANIFEST, folder.read_text(MANIFEST))
        return True

    def publish(self, files: Iterable[FileEntry | str], summary: Mapping[str, Any] | None = None) -> Manifest:
        """Write the manifest that makes the stage done. Call it when everything else is on disk.

        Args:
            files: all that the manifest vouches for; those given by name are read once more for their checksum.
            summary: counts and costs for people; they decide nothing.
        """
        from importlib.metadata import version

        entries = [describe_file(self.folder, file) if isinstance(file, str) else file for file in files]
        manifest = Manifest(
            stage=self.kind,
            identity=self.resolved_identity,
            inputs=self.input_hashes(),
            files=sorted(entries, key=lambda entry: entry.path),
            summary=dict(summary or {}),
            versions={name: version(name) for name in ("evolcoder", *self.packages)},
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self.folder.write_text(MANIFEST, manifest.model_dump_json(indent=1))
        return manifest


Source = Stage | str | Callable[[], str]
"""Where an input's content hash comes from: the stage that makes it, the hash itself, or a function that finds it out."""


def describe_file(folder: Folder, name: str, rows: int | None = None) -> FileEntry:
    """A file as a manifest names it.

    Raises:
        RunFolderError: there is no such file.
    """
    size = folder.size_bytes(name)
    if size is None:
        raise RunFolderError(f"{folder / name} should have been written and is not there.")
    return FileEntry(path=name, bytes=size, sha256=folder.sha256(name), rows=rows)


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


def verified_manifest(folder: Folder) -> Manifest | None:
    """The manifest, once every file that it vouches for is as it was; None when there is none.

    Raises:
        RunFolderError: the manifest or a file is damaged.
    """
    manifest = read_manifest(folder)
    damage = None if manifest is None else manifest.damage(folder)
    if damage is not None:
        raise RunFolderError(f"{folder} is damaged: {damage}; run the verb that made it again.")
    return manifest


def _changed(recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    keys = sorted(key for key in {*recorded, *wanted} if recorded.get(key) != wanted.get(key))
    return f"{', '.join(keys)} changed since it was made"
