"""Seeds from files of every kind, good and bad."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.console import Reporter
from evolcoder.errors import DataError
from evolcoder.evolve.seeds.load import (
    INSTRUCTION_FIELDS,
    RESPONSE_FIELDS,
    Seed,
    UnusableRowError,
    draw,
    load_seeds,
    map_row,
    normalise,
    without_duplicates,
)
from evolcoder.records import INSTRUCTION_SCHEMA, SEED_OPERATOR, Instruction
from evolcoder.settings import SeedSettings

ROWS = [
    {"instruction": "Add two numbers", "input": "1 2", "output": "3"},
    {"instruction": "Say hello", "input": "", "output": "print('hello')"},
    {"instruction": "Sort a list", "input": "", "output": "sorted(x)"},
]


def load(path: object, limit: int | None = None, seed: int = 0) -> tuple[list[Instruction], str]:
    shown = io.StringIO()
    return load_seeds(SeedSettings(path=str(path), limit=limit, seed=seed), Reporter("plain", shown)), shown.getvalue()


def refused(path: object) -> str:
    with pytest.raises(DataError) as caught:
        load(path)
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
    assert {seed.instruction for seed in seeds} == {"Fine", "Also fine"}
    for said in (
        "a.jsonl line 2: is not JSON (column 17",
        "a.jsonl line 4: is a list, not an object",
        "a.jsonl line 5: has no instruction (it has: output, input)",
        "a.jsonl line 6: has a list as its instruction, not text",
        "4 more such rows are left out, 9 in all",
        "11 rows",
        "9 left out",
    ):
        assert said in shown


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"instruction": "half \\ud800"}', "half a surrogate pair"),
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
    assert sorted((s.instruction, s.response) for s in seeds) == [("A", ""), ("a\n b", "kept")]
    assert "1 duplicates removed" in shown


def test_a_limit_above_what_there_is_takes_all_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(_json(ROWS))
    seeds, shown = load(tmp_path / "a.json", limit=64)
    assert len(seeds) == 3
    assert "all 3 used, fewer than seeds.limit=64" in shown


words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda t: bool(normalise(t)))
seeds_of_any_kind = st.builds(Seed, words.map(normalise), st.sampled_from(["", "x"]), st.sampled_from(["", "r", "s"]))


@given(st.lists(seeds_of_any_kind, max_size=30), st.randoms(use_true_random=False), st.integers(1, 40), st.integers(0, 3))
def test_what_is_drawn_does_not_depend_on_the_order_of_the_rows(rows: list[Seed], random: Any, limit: int, seed: int) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    drawn = draw(without_duplicates(rows), limit, seed)
    assert drawn == draw(without_duplicates(shuffled), limit, seed)
    assert drawn == draw(without_duplicates(rows), None, seed)[:limit]
    assert len(drawn) == min(limit, len({row.id for row in rows}))


def test_another_seed_draws_others() -> None:
    rows = [Seed(f"task {number}", "", "") for number in range(200)]
    draws = [frozenset(row.id for row in draw(rows, 20, seed)) for seed in range(5)]
    assert len(set(draws)) == 5
    assert len(frozenset.union(*draws)) > 60


@given(st.text(st.characters(codec="utf-8")))
def test_normalising_twice_is_normalising_once(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert "\r" not in once


@given(st.sampled_from(INSTRUCTION_FIELDS), st.sampled_from(RESPONSE_FIELDS), words, words, st.text(max_size=5))
def test_fields_are_found_under_all_their_names(task: str, answer: str, instruction: str, response: str, other: str) -> None:
    try:
        normalise(other).encode("utf-8")
    except UnicodeEncodeError:
        other = ""
    row = {"id": 7, answer: response, "input": other, task: instruction, "tags": ["x"]}
    assert map_row(row) == Seed(normalise(instruction), normalise(other), normalise(response))


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([*INSTRUCTION_FIELDS, "input", "output"]), inner)
    ),
    max_leaves=6,
)


@given(anything)
def test_any_value_is_a_seed_or_a_reason(value: object) -> None:
    try:
        seed = map_row(value)
    except UnusableRowError as error:
        reason = str(error)
    else:
        reason = ""
        (seed.instruction + seed.input + seed.response).encode("utf-8")
    assert reason or seed.instruction
