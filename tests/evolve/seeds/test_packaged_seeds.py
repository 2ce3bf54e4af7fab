"""The packaged seeds are correct: their code compiles, and what they define does what the task asks for."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from evolcoder.benchmark_table import comparable_benchmarks
from evolcoder.console import Reporter
from evolcoder.evolve.copies.decontamination import BenchmarkIndex
from evolcoder.evolve.seeds.load import load_seeds
from evolcoder.problems.rows import read_problems
from evolcoder.settings.evolve import SeedSettings

PACKAGED = Path(__file__).parents[3] / "platform" / "evolcoder" / "evolve" / "seeds" / "packaged_seeds.jsonl"
ROWS: list[dict[str, str]] = [json.loads(line) for line in PACKAGED.read_text("utf-8").splitlines()]
LANGUAGES = {"python", "javascript", "typescript", "sql", "c", "go", "rust", "bash", "java"}

Names = dict[str, Any]


def code_of(row: dict[str, str]) -> str:
    return "\n".join(re.findall(r"```\w+\n(.*?)```", row["output"], re.DOTALL))


def defining(name: str) -> Names:
    """What the packaged response that defines ``name`` defines, executed."""
    pattern = re.compile(rf"^(?:async )?(?:def|class) {name}\b", re.MULTILINE)
    found = [code_of(row) for row in ROWS if row["language"] == "python" and pattern.search(code_of(row))]
    assert len(found) == 1, f"{len(found)} packaged responses define {name}"
    names: Names = {"__name__": "packaged"}
    exec(compile(found[0], name, "exec", dont_inherit=True), names)
    return names


def make(name: str) -> Callable[..., Any]:
    return defining(name)[name]  # type: ignore[no-any-return]


def test_there_are_enough_and_of_each_kind() -> None:
    languages = Counter(row["language"] for row in ROWS)
    assert len(ROWS) >= 72
    assert set(languages) == LANGUAGES
    assert 0.65 <= languages["python"] / len(ROWS) <= 0.8
    assert set(Counter(row["difficulty"] for row in ROWS)) == {"easy", "medium", "hard"}
    assert sum(bool(row["input"]) for row in ROWS) >= 12


def test_every_row_is_loaded_under_an_id_of_its_own() -> None:
    seeds = load_seeds(SeedSettings(), Reporter("plain", io.StringIO()))
    assert len({seed.id for seed in seeds}) == len(ROWS)
    assert all(seed.response for seed in seeds)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["instruction"][:50])
def test_a_row_is_short_and_its_code_is_fenced_and_compiles(row: dict[str, str]) -> None:
    assert f"```{row['language']}\n" in row["output"]
    assert row["output"].count("```") == 2
    assert len(row["output"].split()) <= 150
    if row["language"] == "python":
        compile(code_of(row), "packaged", "exec")


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("duration_seconds", ("2h30m",), 9000),
        ("duration_seconds", ("1h5s",), 3605),
        ("shared", ([3, 1, 3, 2], [2, 3]), [3, 2]),
        ("find_dates", ("on 2024-02-29, not 2023-02-30 or 12024-01-01",), [date(2024, 2, 29)]),
        ("add_business_days", (date(2024, 5, 3), 2, {date(2024, 5, 6)}), date(2024, 5, 8)),
        ("merge_bookings", ([(5, 6), (1, 3), (2, 4), (4, 5)],), [(1, 6)]),
        ("merge_bookings", ([(1, 9), (2, 3), (10, 11)],), [(1, 9), (10, 11)]),
        ("flatten", ({"db": {"port": 1, "tls": {"on": True}}, "x": {}},), {"db.port": 1, "db.tls.on": True, "x": {}}),
        ("build_order", ({"app": ["lib", "log"], "lib": ["log"]},), ["log", "lib", "app"]),
        ("wrap", ("aa bb  cc extraordinary d", 5), ["aa bb", "cc", "extraordinary", "d"]),
        ("wrap", ("", 5), []),
        ("mask_email", ("anna@example.org",), "a***@example.org"),
        ("is_ipv4", ("192.168.0.1",), True),
        ("is_ipv4", ("192.168.01.1",), False),
        ("is_ipv4", ("1.2.3.256",), False),
        ("is_ipv4", ("1.2.3.²",), False),
        ("slugify", ("  Crème brûlée: 2 ways!",), "creme-brulee-2-ways"),
        ("columns", ([[1, 2], [3]], 0), [[1, 3], [2, 0]]),
        ("shortest_route", ({"a": {"b": 4, "c": 1}, "c": {"b": 2}}, "a", "b"), (3, ["a", "c", "b"])),
        ("shortest_route", ({"a": {}}, "a", "b"), None),
        ("first_at_least", ([1, 3, 3, 7], 3), 1),
        ("first_at_least", ([1, 3], 9), 2),
        ("query_values", ("http://x/?a=1&b=&a=2%20z", "a"), ["1", "2 z"]),
        ("deep_merge", ({"a": {"x": 1, "y": 2}, "b": 1}, {"a": {"y": 3}, "b": {}}), {"a": {"x": 1, "y": 3}, "b": {}}),
        ("page_count", (21, 10), 3),
        ("page_count", (20, 10), 2),
        ("unique_sorted", (["b", "a", "b"],), ["a", "b"]),
        ("snake_keys", ({"userId": [{"firstName": "nN"}]},), {"user_id": [{"first_name": "nN"}]}),
        ("split_bill", (1000, 3), [334, 333, 333]),
        ("is_consistent", (["12......."] + ["........."] * 8,), True),
        ("is_consistent", (["1........", ".1......."] + ["........."] * 7,), False),
        ("best_projects", ([("a", 3, 5), ("b", 2, 3), ("c", 2, 3)], 4), ["b", "c"]),
        ("suggest", ("evlove", ["evolve", "train"]), "did you mean evolve?"),
        ("suggest", ("zzz", ["evolve"]), ""),
        ("calculate", ("2 * (3 + 4) - 10 / 4",), 11.5),
        ("calculate", ("-2 * -(1 - 3)",), -4.0),
        (
            "monthly_means",
            ([("2024-01-03", -2.0), ("2024-01-20", 1.0), ("2024-02-11", 4.5)],),
            {"2024-01": -0.5, "2024-02": 4.5},
        ),
        ("backup_name", ("data/notes.txt", datetime(2024, 5, 1, 12, 0, 3)), "data/notes-20240501T120003.txt"),
        ("age", (date(2000, 2, 29), date(2023, 2, 28)), 22),
        ("local_times", (datetime(2024, 7, 1, 12, tzinfo=UTC), ["UTC", "Asia/Tokyo"]), {"UTC": "12:00", "Asia/Tokyo": "21:00"}),
        ("parse_access", ("nonsense",), None),
        ("islands", (["##.", "..#", "#.#"],), 3),
        ("count_routes", (["...", ".#.", "..."],), 2),
        ("count_routes", (["#."],), 0),
    ],
)
def test_functions_return_what_their_task_asks_for(name: str, arguments: tuple[Any, ...], expected: object) -> None:
    assert make(name)(*arguments) == expected


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("duration_seconds", ("",)),
        ("duration_seconds", ("5x",)),
        ("build_order", ({"a": ["b"], "b": ["a"]},)),
        ("mask_email", ("nobody",)),
        ("calculate", ("(1 + 2",)),
        ("calculate", ("1 2",)),
        ("local_times", (datetime(2024, 7, 1), ["UTC"])),
        ("Thermostat", (31,)),
    ],
)
def test_functions_refuse_what_their_task_says(name: str, arguments: tuple[Any, ...]) -> None:
    function = make(name)
    with pytest.raises(ValueError):  # noqa: PT011 - each names its own fault in its own words
        function(*arguments)


def test_the_response_with_tests_passes_them_and_they_can_fail() -> None:
    names = next(code_of(row) for row in ROWS if "Write pytest tests" in row["instruction"])
    given = next(row["input"] for row in ROWS if "Write pytest tests" in row["instruction"])
    scope: Names = {}
    exec(given, scope)
    exec(names, scope)
    scope["test_a_range_of_one_value"]()
    scope["test_a_reversed_range_is_refused"]()
    cases = next(mark.args[1] for mark in scope["test_value_is_moved_into_the_range"].pytestmark)
    for value, expected in cases:
        scope["test_value_is_moved_into_the_range"](value, expected)
    scope["clamp"] = lambda value, low, high: value
    with pytest.raises(AssertionError):
        scope["test_value_is_moved_into_the_range"](0, 1)


def test_generators() -> None:
    assert list(make("moving_average")([1, 2, 3, 4], 2)) == [1.5, 2.5, 3.5]
    assert list(make("batches")(iter(range(5)), 2)) == [[0, 1], [2, 3], [4]]


def test_logs() -> None:
    table = make("levels_per_hour")(["2024-05-01 12:00:03 ERROR disk full", "odd", "2024-05-01 12:59:03 ERROR again"])
    assert table == {("2024-05-01", 12): {"ERROR": 2}}
    line = next(row["input"] for row in ROWS if "parse_access" in row["instruction"])
    assert make("parse_access")(line) == {
        "host": "203.0.113.9", "method": "GET", "path": "/index.html", "status": 200, "bytes": 2326,
    }  # fmt: skip


def test_files(tmp_path: Path) -> None:
    save_json = make("save_json")
    save_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(TypeError):
        save_json(tmp_path / "a.json", {"x": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]

    (tmp_path / "sales.csv").write_text("customer,date,amount\nann,2024-01-01,0.10\nbob,2024-01-01,1\nann,2024-01-02,0.20\n")
    assert make("totals")(tmp_path / "sales.csv") == {"ann": Decimal("0.30"), "bob": Decimal(1)}

    (tmp_path / "sub").mkdir()
    for name, text in (("sub/b", "same"), ("c", "same"), ("d", "diff")):
        (tmp_path / name).write_text(text)
    assert make("duplicate_files")(tmp_path) == [[tmp_path / "c", tmp_path / "sub/b"]]

    (tmp_path / "log").write_text("1\n2\n3\n")
    assert make("last_lines")(tmp_path / "log", 2) == ["2", "3"]

    (tmp_path / "m.py").write_text("# note\n\nx = 1\n  # more\ny = 2\n")
    assert make("code_lines")(tmp_path) == 2


def test_working_directory_goes_back_after_an_exception(tmp_path: Path) -> None:
    before = Path.cwd()
    working_directory = make("working_directory")

    def fail_inside() -> None:
        with working_directory(tmp_path):
            assert Path.cwd() == tmp_path
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert Path.cwd() == before


def test_cache_and_retry_need_no_waiting() -> None:
    now = [0.0]
    cache = make("ExpiringCache")(10, lambda: now[0])
    cache.put("a", 1)
    now[0] = 9.9
    assert cache.get("a") == 1
    now[0] = 10.0
    assert cache.get("a", "gone") == "gone"

    waits: list[float] = []
    calls = []

    @make("retry")(3, (OSError,), waits.append)
    def fails() -> None:
        calls.append(1)
        raise OSError("again")

    with pytest.raises(OSError, match="again"):
        fails()
    assert (len(calls), waits) == (3, [0.5, 1.0])


def test_mistakes_are_mended() -> None:
    add_tag = make("add_tag")
    add_tag("a")
    assert add_tag("b") == ["b"]
    assert [button() for button in make("make_buttons")()] == [0, 1, 2]


def test_classes() -> None:
    account = make("Account")()
    account.deposit(100)
    with pytest.raises(ValueError, match="balance"):
        account.withdraw(101)
    account.withdraw(100)
    assert account.balance == 0

    words = make("Completer")()
    for word in ("tea", "ten", "to", "tea"):
        words.add(word)
    assert (words.complete("te"), words.complete("x")) == (["tea", "ten"], [])

    text = make("TextBuffer")()
    text.write("a")
    text.write("b")
    text.undo()
    text.undo()
    text.redo()
    assert text.text == "a"
    text.write("c")
    text.redo()
    assert text.text == "ac"

    version = make("Version")
    assert version.parse("1.9.0") < version.parse("1.10.0")
    assert str(version.parse("1.20.3")) == "1.20.3"

    peekable = make("Peekable")([1, 2])
    assert [peekable.peek(), next(peekable), *peekable, peekable.peek("end")] == [1, 1, 2, "end"]

    events, seen = make("Events")(), []
    off = events.on("x", lambda value: (seen.append(value), off()))
    events.on("x", seen.append)
    events.emit("x", 1)
    events.emit("x", 2)
    assert seen == [1, 1, 2]


def test_threads_and_coroutines() -> None:
    counter = make("HitCounter")()
    counter.hit("a")
    before = counter.snapshot()
    counter.hit("a")
    assert (before, counter.snapshot()) == ({"a": 1}, {"a": 2})

    results, errors = make("map_threads")(lambda x: 6 // x, [0, 1, 2])
    assert results == {1: 6, 2: 3}
    assert isinstance(errors[0], ZeroDivisionError)

    handled: list[int] = []
    make("consume")(range(50), 3, handled.append)
    assert sorted(handled) == list(range(50))

    running, most = [], []

    async def job() -> int:
        running.append(1)
        most.append(len(running))
        await asyncio.sleep(0)
        running.pop()
        return len(most)

    results = asyncio.run(make("run_limited")([job] * 5, 2))
    assert (len(results), max(most)) == (5, 2)


def test_every_python_task_that_defines_something_is_executed_here() -> None:
    source = Path(__file__).read_text("utf-8")
    defined = [
        name
        for row in ROWS
        if row["language"] == "python" and "Write pytest tests" not in row["instruction"]
        for name in re.findall(r"^(?:async )?(?:def|class) ([A-Za-z]\w*)", code_of(row), re.MULTILINE)
    ]
    assert [name for name in defined if f'"{name}"' not in source] == []


def test_no_overlap_with_benchmarks(data_folder: Path) -> None:
    index = BenchmarkIndex(read_problems(comparable_benchmarks()))
    hits = [
        hit for row in ROWS for hit in index.hits(row["instruction"], f"{row['instruction']}\n{row['input']}", row["output"])
    ]
    assert hits == []
