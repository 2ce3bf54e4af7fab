"""Rows out of seed files: JSON, JSON lines, Parquet and Arrow, each with its place for error messages.

A malformed file is an error, a malformed row says so itself. What the fields mean is not known here.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from evolcoder.errors import DataError
from evolcoder.sources import SourceFile

_COLUMNAR = (".parquet", ".arrow")
HOW_TO_NAME_COLUMNS = "seeds.columns: {instruction: NAME, response: NAME} says which to read"
SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz", *_COLUMNAR)


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as its file holds it. ``place`` is the file with a line or row number, counted from 1.

    ``fault`` says of one that is malformed what is wrong with it; it has no ``value``.
    """

    place: str
    value: object = None
    fault: str | None = None


def read_rows(file: SourceFile, fields: Collection[str], named: Collection[str] = ()) -> Iterator[RawRow]:
    """The rows of one file, whose suffix says what it is; of a file with columns, these ``fields`` only.

    Raises:
        DataError: the file is of no known kind, malformed, has none of the fields as a column, or lacks one that was ``named``.
    """
    suffix = next((suffix for suffix in SUFFIXES if file.name.endswith(suffix)), None)
    if suffix is None:
        raise DataError(f"{file} is of no kind that can be read; use {', '.join(SUFFIXES)}.")
    name, data = str(file), file.read_bytes()
    if suffix in _COLUMNAR:
        yield from _read_columns(name, suffix, data, fields, named)
        return
    if suffix.endswith(".gz"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{name} is no whole gzip file: {error}.") from None
    yield from read_json_lines(name, data) if suffix.startswith(".jsonl") else read_json(name, data)


def a_kind(value: object) -> str:
    """What a JSON value is, with its article, for messages."""
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), f"a {type(value).__name__}")


def read_json(name: str, data: bytes) -> Iterator[RawRow]:
    """A list of objects, as Code Alpaca's; a file of one object a line is read as JSON lines.

    Raises:
        DataError: it is not JSON (with line and column), or not a list.
    """
    try:
        rows = json.loads(data.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        # "Extra data" is what the parser says when a second object follows the first: JSON lines under the name of .json.
        if error.msg == "Extra data" and data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            yield from read_json_lines(name, data)
            return
        if not data.strip():
            raise DataError(f"{name} is empty.") from None
        raise DataError(f"{name} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}.") from None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{name} is not UTF-8 text: line {line} holds the byte 0x{data[error.start]:02x}.") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} cannot be read as JSON: {error}.") from None
    if not isinstance(rows, list):
        raise DataError(f"{name} holds {a_kind(rows)}; it must hold a list of objects, or one object a line (.jsonl).")
    for number, row in enumerate(rows, start=1):
        yield RawRow(f"{name} row {number}", row)


def read_json_lines(name: str, data: bytes) -> Iterator[RawRow]:
    """One object a line; empty lines are no rows. A line that is not JSON is one bad row."""
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        place = f"{name} line {number}"
        try:
            row = json.loads(line.decode("utf-8"))
        except json.JSONDecodeError as error:
            yield RawRow(place, fault=f"is not JSON (column {error.colno}: {error.msg})")
        except (ValueError, RecursionError) as error:
            yield RawRow(place, fault=f"cannot be read as JSON ({error})")
        else:
            yield RawRow(place, row)


def _read_columns(name: str, suffix: str, data: bytes, fields: Collection[str], named: Collection[str]) -> Iterator[RawRow]:
    try:
        if suffix == ".parquet":
            # In this thread alone: where an error ended the process while a thread of pyarrow was still starting, it aborted.
            table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
        else:  # an Arrow IPC file, or an IPC stream, which is what `datasets` writes as ``.arrow``
            table = (pa.ipc.open_file(data) if data.startswith(b"ARROW1") else pa.ipc.open_stream(data)).read_all()
        present = [field for field in fields if field in table.column_names]
        missing = [column for column in named if column not in table.column_names]
        if missing or not present:
            known = f"none of them is {missing[0]}" if missing else f"none is one of {', '.join(fields)}"
            raise DataError(f"{name} has the columns {', '.join(table.column_names)}; {known} ({HOW_TO_NAME_COLUMNS}).")
        columns = {field: table.column(field) for field in present}
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{name} cannot be read as {suffix[1:]}: {' '.join(str(error).split())[:200]}") from None
    for index in range(table.num_rows):
        place = f"{name} row {index + 1}"
        try:
            row = {field: column[index].as_py() for field, column in columns.items()}
        except ValueError as error:
            yield RawRow(place, fault=f"cannot be read ({error})")
        else:
            yield RawRow(place, row)
