"""How a stage of a run is known to be done: by its manifest.

A stage writes its files and then, last and atomically, a manifest that names each file with its SHA-256, the settings
it was made with and the manifests it was made from. A stage is done when its manifest is there, says what would be made
now, and its files verify. What a stage makes is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
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
