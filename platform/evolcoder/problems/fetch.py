"""Fetches the benchmarks' data: from the release that published the file, else from the hub at a pinned revision.

What arrives is checked before it is kept: the file's own checksum, or that of its rows. Nothing half-written is left behind.
"""

from __future__ import annotations

import gzip
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from evolcoder.benchmark_table import BenchmarkFile, benchmark_files
from evolcoder.console import Reporter
from evolcoder.errors import DataError
from evolcoder.problems.files import data_folder, find_benchmark, how_to_get, is_known, read_benchmark
from evolcoder.sources import HubDataset

_TIMEOUT_SECONDS = 60.0


def list_benchmarks(reporter: Reporter) -> None:
    """Which data is here, where, and where the rest comes from."""
    rows = []
    for name, file in benchmark_files().items():
        place = find_benchmark(name)
        state = "missing"
        if place is not None:
            try:
                read_benchmark(name)
                state = "here"
            except DataError:
                state = "another version"
        rows.append((name, state, file.licence, str(place or file.release_url or _hub(file))))
    reporter.table("Benchmark data", ["name", "state", "licence", "where it is, or comes from"], rows)


def fetch(names: Iterable[str], reporter: Reporter) -> list[Path]:
    """Fetch what is not here; returns where each file lies.

    Raises:
        DataError: a name is unknown, the source cannot be reached, or what it sends is not the known data.
    """
    chosen, known = list(names), benchmark_files()
    for name in chosen:
        if name not in known:
            raise DataError(f"There is no data {name!r}; `evolcoder data list` shows: {', '.join(known)}.")
    places = []
    for name in chosen:
        place = find_benchmark(name)
        if place is None:
            place = _fetched(known[name], reporter)
        else:
            read_benchmark(name)
            reporter.say(f"{name} is here already: {place}")
        places.append(place)
    return places


def _fetched(file: BenchmarkFile, reporter: Reporter) -> Path:
    source = file.release_url or _hub(file)
    reporter.say(f"fetching {file.name} ({file.licence}): {source}")
    data = _download(file.release_url) if file.release_url else _from_hub(file)
    if not is_known(file, data):
        raise DataError(f"What came is not the {file.name} that is known here; nothing was kept ({source}).")
    target = data_folder() / file.path
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(target)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise DataError(f"{target} cannot be written ({error.strerror}); set EVOLCODER_DATA to a folder of yours.") from None
    return target


def _from_hub(file: BenchmarkFile) -> bytes:
    try:
        splits = HubDataset(file.hub_id, file.hub_revision).splits()
    except DataError as error:
        raise DataError(
            f"{_hub(file)} cannot be had: check the network, and that evolcoder[hub] is installed; or {how_to_get(file.name)}."
        ) from error
    rows: list[Mapping[str, Any]] = [row for split in splits.values() for row in split]
    rows.sort(key=_number)  # the order of the file itself
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return gzip.compress(lines.encode("utf-8"), mtime=0)


def _number(row: Mapping[str, Any]) -> int:
    identity = row["metadata"]["problem_id"] if "metadata" in row else row["task_id"]
    return int(str(identity).rpartition("/")[2])


def _download(address: str) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as reply:
            data: bytes = reply.read()
    except (urllib.error.URLError, OSError) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())[:200]
        raise DataError(f"{address} cannot be had ({reason}); check the network, or put the file there by hand.") from None
    return data


def _hub(file: BenchmarkFile) -> str:
    return f"The hub's {file.hub_id}@{file.hub_revision[:12]}"
