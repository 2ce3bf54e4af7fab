"""Seeds from files of every kind, good and bad."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evolcoder.console import Reporter
from evolcoder.errors import DataError
from evolcoder.evolve.seeds.load import load_seeds
from evolcoder.records import INSTRUCTION_SCHEMA, SEED_OPERATOR, Instruction
from evolcoder.settings.evolve import SeedColumns, SeedSettings

ROWS = [
    {"instruction": "Add two numbers", "input": "1 2", "output": "3"},
    {"instruction": "Say hello", "input": "", "output": "print('hello')"},
    {"instruction": "Sort a list", "input": "", "output": "sorted(x)"},
]


def load(path: object, limit: int | None = None, seed: int = 0, **columns: str) -> tuple[list[Instruction], str]:
    shown = io.StringIO()
    settings = SeedSettings(path=str(path), limit=limit, seed=seed, columns=SeedColumns(**columns))
    return load_seeds(settings, Reporter("plain", shown)), shown.getvalue()


def refused(path: object, **columns: str) -> str:
    with pytest.raises(DataError) as caught:
        load(path, **columns)
    assert caught.value.message.count("\n") == 0
    return caught.value.message


def _json_lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _parquet(rows: list[dict[str, str]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=2)
    return sink.getvalue()


def _arrow_file(rows: list[dict[str, str]]) -> bytes:
    sink, table = io.BytesIO(), pa.Table.from_pylist(rows)
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue()


def _arrow_stream(rows: list[dict[str, str]]) -> bytes:
    sink, table = io.BytesIO(), pa.Table.from_pylist(rows)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _json(rows: list[dict[str, str]]) -> bytes:
    return json.dumps(rows).encode()


WRITERS: dict[str, Callable[[list[dict[str, str]]], bytes]] = {
    "a.json": _json,
    "bom.json": lambda rows: b"\xef\xbb\xbf" + _json(rows),
    "lines.json": _json_lines,
    "a.jsonl": _json_lines,
    "crlf.jsonl": lambda rows: _json_lines(rows).replace(b"\n", b"\r\n\r\n"),
    "a.json.gz": lambda rows: gzip.compress(_json(rows)),
    "a.jsonl.gz": lambda rows: gzip.compress(_json_lines(rows)),
    "a.parquet": _parquet,
    "a.arrow": _arrow_file,
    "stream.arrow": _arrow_stream,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_gives_the_same_seeds(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(WRITERS[name](ROWS))
    seeds, shown = load(tmp_path / name)
    assert {(s.instruction, s.input, s.response) for s in seeds} == {tuple(row.values()) for row in ROWS}
    assert "3 rows" in shown
    assert "warning" not in shown
    (tmp_path / "reference.json").write_bytes(_json(ROWS))
    assert seeds == load(tmp_path / "reference.json")[0]


def test_a_seed_is_round_0_and_fits_the_schema(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(_json([{"instruction": "Do it"}]))  # type: ignore[list-item]
    (seed,), _ = load(tmp_path / "a.json")
    assert (seed.round, seed.operator, seed.parent_id, seed.root_id) == (0, SEED_OPERATOR, None, seed.id)
    assert (seed.response, seed.status, seed.request_keys) == ("", "kept", [])
    pa.Table.from_pylist([seed.to_row()], INSTRUCTION_SCHEMA).validate(full=True)


def test_a_folder_is_all_of_its_files_and_not_what_datasets_writes_beside_them(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "b.arrow").write_bytes(_arrow_stream(ROWS[:1]))
    (tmp_path / "a.jsonl").write_bytes(_json_lines(ROWS[1:]))
    (tmp_path / "dataset_info.json").write_text("{}")
    (tmp_path / "README.md").write_text("# data")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "x.json").write_text("broken")
    assert len(load(tmp_path)[0]) == 3


def test_code_alpaca(data_folder: Path) -> None:
    seeds, shown = load(data_folder / "codealpaca" / "code_alpaca_2k.json.gz")
    assert len({seed.id for seed in seeds}) == len(seeds) == 2017
    assert sum(bool(seed.input) for seed in seeds) > 500
    assert "2,017 rows" in shown
    seeds, _ = load(data_folder / "codealpaca")
    assert len(seeds) == 2017 + 4535


def test_a_relative_path_is_also_looked_for_in_the_data_folder(data_folder: Path) -> None:
    seeds, _ = load("codealpaca/code_alpaca_2k.json.gz", limit=5)
    assert len(seeds) == 5


def test_bad_rows_are_named_by_line_and_counted(tmp_path: Path) -> None:
    lines = [
        b'{"instruction": "Fine"}',
        b'{"instruction": "no end',
        b"",
        b"[1]",
        b'{"output": "x", "input": "y"}',
        b'{"instruction": ["a"]}',
        b'{"instruction": "   "}',
        b'{"instruction": "\xff"}',
        b'{"instruction": "half \\ud800"}',
        b'{"instruction": "ok", "input": {"a": 1}}',
        b'{"instruction": "Also fine", "input": null}',
        b"[" * 100_000,
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    seeds, shown = load(tmp_path / "a.jsonl")
    assert {seed.instruction for seed in seeds} == {"Fine", "Also fine", "half \N{REPLACEMENT CHARACTER}"}
    for said in (
        "a.jsonl line 2: is not JSON (column 17",
        "a.jsonl line 4: is a list, not an object",
        "a.jsonl line 5: has no instruction (it has: output, input)",
        "a.jsonl line 6: has a list as its instruction, not text",
        "3 more such rows are left out, 8 in all",
        "11 rows",
        "8 left out",
        "1 characters of the seeds are half of a surrogate pair",
    ):
        assert said in shown


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"instruction": "\xff"}', "cannot be read as JSON"),
        (b'{"instruction": "ok", "input": 5}', "a number as its input"),
        (b'{"instruction": "ok", "output": false}', "a truth value as its output"),
        (b"null", "is null"),
        (b"{}", "no field at all"),
        (b"[" * 100_000, "cannot be read as JSON"),
    ],
)
def test_when_no_row_can_be_used_the_first_reason_is_given(tmp_path: Path, line: bytes, reason: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(line)
    message = refused(tmp_path / "a.jsonl")
    assert reason in message
    assert "a.jsonl line 1" in message


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.json", b'[{"instruction": "x"},\n {"instruction" "y"}]', "line 2, column 17"),
        ("a.json", b"", "is empty"),
        ("a.json", b"[]", "holds no rows"),
        ("a.json", b'{"data": []}', "must hold a list"),
        ("a.json", b'[\n"\xff"]', "line 2 holds the byte 0xff"),
        ("a.json", b"[" * 100_000, "cannot be read as JSON"),
        ("a.jsonl", b"\n\n", "holds no rows"),
        ("a.json.gz", b"no gzip", "no whole gzip file"),
        ("a.json.gz", gzip.compress(b"[]" * 500)[:-9], "no whole gzip file"),
        ("a.parquet", b"PAR1 nonsense", "cannot be read as parquet"),
        ("a.parquet", b"", "cannot be read as parquet"),
        ("a.parquet", _parquet([{"task": "x"}]), "has the columns task"),
        ("a.parquet", _parquet([{"output": "x"}]), "has no instruction"),
        ("a.arrow", b"ARROW1 nonsense", "cannot be read as arrow"),
        ("a.arrow", _arrow_file(ROWS)[:-20], "cannot be read as arrow"),
        ("a.csv", b"instruction\nx\n", "use .json, .jsonl"),
    ],
)
def test_a_malformed_file_is_one_sentence(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(data)
    message = refused(tmp_path / name)
    assert reason in message
    assert name in message


def test_a_column_that_is_not_text_is_a_bad_row_and_not_a_crash(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0"), pa.py_buffer(b"ok\xff\xff")]
    )
    pq.write_table(pa.table({"instruction": broken}), tmp_path / "a.parquet")
    seeds, shown = load(tmp_path / "a.parquet")
    assert [seed.instruction for seed in seeds] == ["ok"]
    assert "a.parquet row 2: cannot be read" in shown


def test_duplicates_are_removed_and_counted(tmp_path: Path) -> None:
    rows = [{"instruction": "a \r\n b"}, {"instruction": "a\n b ", "output": "kept"}, {"instruction": "A"}]
    (tmp_path / "a.json").write_bytes(_json(rows))
    seeds, shown = load(tmp_path / "a.json")
    assert sorted((s.instruction, s.response) for s in seeds) == [("A", ""), ("a\n b ", "kept")]
    assert "1 duplicates removed" in shown


def test_a_limit_above_what_there_is_takes_all_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(_json(ROWS))
    seeds, shown = load(tmp_path / "a.json", limit=64)
    assert len(seeds) == 3
    assert "all 3 used, fewer than seeds.limit=64" in shown


def test_texts_are_kept_as_they_are_but_for_the_blank_lines_around_them(tmp_path: Path) -> None:
    rows = [
        {"prompt": "\ndef clamp(x, lo, hi):\n", "completion": "\n    if x < lo:\n        return lo\n"},
        {"instruction": "Show that two spellings differ.", "output": "assert 'e\u0301' != '\u00e9'"},
        {"instruction": "Break a line.", "input": "  a  \n", "output": "t = '''first  \r\nsecond'''"},
    ]
    (tmp_path / "a.jsonl").write_bytes(_json_lines(rows))
    seeds, _ = load(tmp_path / "a.jsonl")
    assert {(s.instruction, s.input, s.response) for s in seeds} == {
        ("def clamp(x, lo, hi):", "", "    if x < lo:\n        return lo"),
        ("Show that two spellings differ.", "", "assert 'e\u0301' != '\u00e9'"),
        ("Break a line.", "  a  ", "t = '''first  \r\nsecond'''"),
    }


CONVERSATIONS = [
    {"messages": [{"role": "user", "content": "Sort a list."}, {"role": "assistant", "content": "  sorted(x)"}]},
    {"conversations": [{"from": "human", "value": "Sort a list."}, {"from": "gpt", "value": "  sorted(x)"}]},
]


@pytest.mark.parametrize("row", CONVERSATIONS)
@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "a.arrow"])
def test_conversations_are_read_from_every_kind_of_file(tmp_path: Path, name: str, row: dict[str, Any]) -> None:
    (tmp_path / name).write_bytes(WRITERS[name]([row]))
    (seed,), shown = load(tmp_path / name)
    assert (seed.instruction, seed.input, seed.response) == ("Sort a list.", "", "  sorted(x)")
    assert "left out" not in shown


def test_what_a_conversation_holds_besides_is_counted(tmp_path: Path) -> None:
    longer = [{"role": "system", "content": "Be brief."}, *CONVERSATIONS[0]["messages"]]
    (tmp_path / "a.jsonl").write_bytes(_json_lines([{"messages": longer}]))  # type: ignore[list-item]
    assert "1 conversations hold more than a question and its answer" in load(tmp_path / "a.jsonl")[1]


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "a.arrow"])
def test_columns_are_called_what_the_settings_say(tmp_path: Path, name: str) -> None:
    rows = [{"task": "Sort.", "given": "x", "code": "sorted(x)", "instruction": "no", "output": "no"}]
    (tmp_path / name).write_bytes(WRITERS[name](rows))
    (seed,), _ = load(tmp_path / name, instruction="task", input="given", response="code")
    assert (seed.instruction, seed.input, seed.response) == ("Sort.", "x", "sorted(x)")
    message = refused(tmp_path / name, instruction="task", response="kode")
    for said in ("kode", "task", "given", "code"):
        assert said in message


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "a.arrow"])
def test_columns_of_unknown_names_are_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(WRITERS[name]([{"task": "Sort.", "code": "sorted(x)"}]))
    message = refused(tmp_path / name)
    assert "task, code" in message
    assert "seeds.columns: {instruction: NAME" in message


def test_what_is_not_a_number_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"instruction": "Reverse.", "input": NaN, "output": "x[::-1]"}')
    nan = pa.table({"instruction": ["Reverse."], "input": [float("nan")], "output": ["x[::-1]"]})
    pq.write_table(nan, tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        (seed,), shown = load(tmp_path / name)
        assert (seed.input, seed.response) == ("", "x[::-1]")
        assert "left out" not in shown


def test_a_parquet_file_is_read_in_no_thread_that_could_abort_a_process_that_ends(tmp_path: Path) -> None:
    """pyarrow's threads, while they start, abort a process that ends: the user saw the right sentence, then a crash."""
    (tmp_path / "seeds.parquet").write_bytes(_parquet(ROWS))
    code = """if True:
        import io, os, sys
        from evolcoder.console import Reporter
        from evolcoder.evolve.seeds.load import load_seeds
        from evolcoder.settings.evolve import SeedSettings
        before = os.listdir("/proc/self/task")
        load_seeds(SeedSettings(path=sys.argv[1]), Reporter("plain", io.StringIO()))
        assert os.listdir("/proc/self/task") == before
    """
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "seeds.parquet")], check=True)
