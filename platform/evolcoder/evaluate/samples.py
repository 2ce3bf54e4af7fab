"""Programs from a file instead of a model: JSONL with ``task_id`` and one of ``answer``, ``completion`` or ``solution``.

``answer`` is a model's raw text, from which the code is extracted; ``completion`` is code that goes on from the prompt or
repeats the function; ``solution`` is a whole program. A task may have several lines: its samples, in the file's order.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zlib
from collections import Counter
from pathlib import Path
from typing import get_args

from evolcoder.errors import DataError
from evolcoder.evaluate.benchmarks.base import Benchmark
from evolcoder.records import AnswerKind, Completion
from evolcoder.text.encodable import encodable_text

_KINDS: tuple[AnswerKind, ...] = get_args(AnswerKind)
_COMPRESSED = ((b"\x1f\x8b", gzip.decompress), (b"BZh", bz2.decompress), (b"\xfd7zXZ\0", lzma.decompress))
_ENCODINGS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
"""By the byte order mark at the beginning; Windows' tools write all three."""

_OTHERS = (
    (b"PK\x03\x04", "a binary file, a zip archive"),
    (b"\x28\xb5\x2f\xfd", "a binary file, compressed by zstd"),
    (b"PAR1", "a binary file, a Parquet table"),
    (b"ARROW1", "a binary file, an Arrow table"),
)


def read_samples(path: Path, benchmark: Benchmark) -> tuple[list[Completion], int]:
    """Each line as what a model said, and how many of its characters no text can hold and were replaced.

    Raises:
        DataError: the file is missing or empty, or a line is wrong; the message names the line.
    """
    task_ids = {problem.task_id for problem in benchmark.problems()}
    seen: Counter[str] = Counter()
    completions = []
    replaced = 0
    # Not splitlines: JSON may hold other line ends, such as U+2028, inside its strings.
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"Line {number} of {path}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} is not JSON: {error}") from None
        # The type itself: an `isinstance` of int would take true for a task.
        if not isinstance(row, dict) or type(row.get("task_id")) not in (str, int):
            raise DataError(f"{where} must be a JSON object with a string task_id.")
        task_id = benchmark.task_id(str(row["task_id"]))
        if task_id not in task_ids:
            raise DataError(f"{where} names the task {row['task_id']!r}, which {benchmark.name} does not have.")
        kinds = [kind for kind in _KINDS if kind in row]
        if len(kinds) != 1 or not isinstance(row[kinds[0]], str):
            raise DataError(f"{where} must have exactly one of {', '.join(_KINDS)}, and it must be a string.")
        text, count = encodable_text(row[kinds[0]])
        completions.append(Completion(task_id, seen[task_id], "", text, "", 0, 0, kinds[0]))
        seen[task_id] += 1
        replaced += count
    if not completions:
        raise DataError(f"{path} holds no samples; each line is JSON with task_id and one of {', '.join(_KINDS)}.")
    return completions, replaced


def _text(path: Path) -> str:
    """The file's text, whatever it is compressed by and whatever its name says."""
    wrong = ""
    try:
        data = path.read_bytes()
        for mark, decompress in _COMPRESSED:
            if data.startswith(mark):
                data = decompress(data)
                break
        encoding = next((name for mark, name in _ENCODINGS if data.startswith(mark)), "utf-8")
        text = data.decode(encoding)
    except FileNotFoundError:
        raise DataError(f"There is no file {path}; name a JSONL file of samples.") from None
    except UnicodeDecodeError as error:
        text = ""
        wrong = "a binary file" if b"\0" in data[:4096] else f"not UTF-8 ({error})"
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    wrong = next((what for mark, what in _OTHERS if data.startswith(mark)), "a binary file" if "\0" in text else wrong)
    if wrong:
        raise DataError(f"{path} is {wrong}; samples are JSON lines, as text in UTF-8 or compressed by gzip, bzip2 or xz.")
    return text
