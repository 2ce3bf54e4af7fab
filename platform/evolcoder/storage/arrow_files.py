"""Rows in Arrow IPC files: the one writer and the one reader of the package. What the rows mean is not known here.

A file's bytes depend on its rows and their order alone, so that manifests of the same rows have the same hash.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from evolcoder.storage.folders import Folder


def arrow_bytes(rows: Iterable[Mapping[str, Any]], schema: pa.Schema, rows_per_batch: int | None = None) -> bytes:
    """An Arrow IPC file of the rows, in their order; in one batch, or in batches that a reader can hold one of."""
    buffer = io.BytesIO()
    with pa.ipc.new_file(buffer, schema) as writer:
        writer.write_table(pa.Table.from_pylist(list(rows), schema=schema), max_chunksize=rows_per_batch)
    return buffer.getvalue()


@contextmanager
def arrow_writer(folder: Folder, name: str, schema: pa.Schema) -> Iterator[pa.RecordBatchWriter]:
    """Write a file batch by batch, for rows that do not fit in memory; it is whole when the block ends."""
    with folder.open_output(name) as file, pa.ipc.new_file(file, schema) as writer:
        yield writer


def read_table(folder: Folder, name: str) -> pa.Table:
    """A whole file: mapped from a disk, so that processes share its memory; held in memory from other storage."""
    local = folder.is_local
    source = pa.memory_map(str(folder.local_path / name)) if local else pa.BufferReader(folder.read_bytes(name))
    return pa.ipc.open_file(source).read_all()


def read_batches(folder: Folder, name: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The batches of a file, one in memory at a time."""
    with folder.open_input(name) as file, pa.ipc.open_file(file) as reader:
        for index in range(reader.num_record_batches):
            batch = reader.get_batch(index)
            yield batch if columns is None else batch.select(list(columns))


def read_rows(folder: Folder, pattern: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of all files here whose name matches, by name, as plain data; none when no file does."""
    wild = any(sign in pattern for sign in "*?[")
    names = folder.names(pattern) if wild else [pattern] * folder.exists(pattern)  # a listing may be long
    for name in names:
        for batch in read_batches(folder, name, columns):
            yield from batch.to_pylist()
