"""What the reference solution returns for each input: run once in a box, then kept on disk by the data's checksum.

The cache is read as plain data within bounds, never unpickled; a file that is damaged is made anew. It lies outside every
box, so that no program reaches it. How long the reference took lies beside it, so that long tasks can be judged first.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolcoder.errors import RunFolderError
from evolcoder.sandbox.box import Sandbox
from evolcoder.sandbox.inside import codec
from evolcoder.sandbox.isolation import ResourceLimits
from evolcoder.sandbox.outcomes import BoxFault, ProgramFault, ProgramRaised
from evolcoder.storage.cache import cache_folder
from evolcoder.storage.folders import Folder
from evolcoder.storage.hashes import stable_hash

_REFERENCE_LIMITS = ResourceLimits(
    import_cpu_seconds=60.0, call_cpu_seconds=120.0, task_cpu_seconds=300.0, memory_bytes=6 << 30
)
_BOUNDS = codec.Bounds(total_bytes=1 << 30, items=10_000_000)
_FORMAT = "2"
"""Part of a file's name: raised when what is in the file means something else, so that older files are never read."""
_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class Expected:
    """The reply's payload of each call of one part, and the CPU time of the reference's slowest call."""

    payloads: tuple[bytes, ...]
    slowest_call_seconds: float

    def value(self, index: int) -> Any:
        """The output of a call.

        Raises:
            AssertionError: it is so large that only its digest is kept, so that nothing but the very same value agrees.
        """
        if self.payloads[index][:1] == b"h":  # then a SHA-256 and the size in eight bytes, in place of the value
            raise AssertionError("the output is large, and not the expected one")
        return codec.decode(self.payloads[index][1:], _BOUNDS)

    @property
    def largest_bytes(self) -> int:
        """What the largest output takes."""
        return max((int.from_bytes(p[33:41], "big") if p[:1] == b"h" else len(p) for p in self.payloads), default=0)


_known: dict[str, dict[str, Expected]] = {}


def expected_outputs(
    version: str, task_id: str, program: str, entry_point: str, arguments: Mapping[str, Sequence[bytes]], box: Sandbox
) -> dict[str, Expected]:
    """The reference's outputs by part, from memory, else from disk, else by running it.

    Raises:
        BoxFault: the reference could not be run, or raises.
    """
    file = _file(version, task_id)
    found = _known.get(file.stem) or _read(file)
    if found is None:
        runs = {part: _run(program, entry_point, calls, box) for part, calls in arguments.items()}
        found = {part: expected for part, (expected, _) in runs.items()}
        plain = {part: (expected.payloads, expected.slowest_call_seconds) for part, expected in found.items()}
        data = codec.encode(plain, _BOUNDS)
        with contextlib.suppress(OSError, RunFolderError):  # a cache that cannot be written costs time, nothing else
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            Folder.open(file.parent).write_bytes(file.name, hashlib.sha256(data).digest() + data)
            file.with_suffix(".seconds").write_text(f"{sum(seconds for _, seconds in runs.values()):.3f}", "ascii")
    _known[file.stem] = found
    return found


def reference_seconds(version: str, task_id: str) -> float:
    """The CPU time of the reference over all inputs; 0 when it was not run on this machine yet."""
    try:
        return float(_file(version, task_id).with_suffix(".seconds").read_text("ascii"))
    except (OSError, ValueError):
        return 0.0


def _file(version: str, task_id: str) -> Path:
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    return cache_folder() / "expected" / f"{stable_hash(version, task_id, python, _FORMAT)}.bin"


def _run(source: str, entry_point: str, arguments: Sequence[bytes], box: Sandbox) -> tuple[Expected, float]:
    payloads: list[bytes] = []
    slowest = 0.0
    with box.prepare(_REFERENCE_LIMITS) as program:
        try:
            program.load(source)
            started = before = program.cpu_seconds
            for _, reply in program.differing(entry_point, arguments, ()):
                if not reply.returned:
                    reply.value()  # raises what the reference raised
                payloads.append(reply.payload)
                now = program.cpu_seconds
                slowest, before = max(slowest, now - before), now
        except (ProgramRaised, ProgramFault) as fault:
            raise BoxFault(f"the benchmark's own solution failed ({fault})") from None
        return Expected(tuple(payloads), slowest), before - started


def _read(file: Path) -> dict[str, Expected] | None:
    try:
        data = file.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data[_DIGEST_BYTES:]).digest() != data[:_DIGEST_BYTES]:
        return None
    plain: dict[str, Any] = codec.decode(data[_DIGEST_BYTES:], _BOUNDS)
    return {part: Expected(payloads, slowest) for part, (payloads, slowest) in plain.items()}
