"""Benchmark problems in training rows: every disguise is seen through, and clean rows are left alone."""

from __future__ import annotations

import gzip
import json
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evolve import plants

from evolcoder.benchmark_table import comparable_benchmarks
from evolcoder.errors import DataError
from evolcoder.evolve.copies.decontamination import (
    EVIDENCE_CHARACTERS,
    BenchmarkIndex,
    Hit,
    decontamination_identity,
    findings,
)
from evolcoder.problems.files import benchmark_rows
from evolcoder.problems.rows import ProblemRow, read_problems

ROWS = list(benchmark_rows("humaneval"))
INDEX = BenchmarkIndex(read_problems(["humaneval"]))
FOUND_AT_LEAST = {
    "verbatim": 164,
    "prompt_alone": 164,
    "reformatted": 164,
    "renamed": 163,  # not `add`, whose docstring is the names of its parameters
    "reworded": 162,  # not `return x + y` and `return len(string)`
    "translated": 164,
    "split": 164,
    "head_and_body": 164,
    "renamed_and_reformatted": 163,
    "renamed_and_reworded": 113,  # the other solutions are too short to tell without a word of their own
    "renamed_reworded_and_edited": 65,
    "reworded_and_split": 162,
    "solution_alone": 161,
    "tests_alone": 164,
}
PROBLEM = ProblemRow(
    benchmark="bench",
    task_id="Bench/1",
    statement="Given the readings of 3 thermometers, say which of them strays furthest from the mean of the others.",
    prompt="Given the readings of 3 thermometers, say which of them strays furthest from the mean of the others.",
    solutions=(
        "def straying(readings):\n"
        "    best, most = None, 0\n"
        "    for index, reading in enumerate(readings):\n"
        "        others = readings[:index] + readings[index + 1:]\n"
        "        gap = abs(reading - sum(others) / len(others))\n"
        "        if gap > most:\n"
        "            best, most = index, gap\n"
        "    return best\n",
    ),
    tests="assert straying([1, 2, 9]) == 2\nassert straying([7, 1, 2]) == 0",
    entry_point="straying",
)
SMALL = BenchmarkIndex([PROBLEM])
BODY = PROBLEM.solutions[0].partition("\n")[2]


def rules(task: str, response: str = "") -> list[str]:
    return [hit.rule for hit in SMALL.hits("row", task, response)]


@pytest.mark.parametrize("kind", plants.KINDS)
def test_planted_copies_are_found(kind: str) -> None:
    plant = plants.KINDS[kind]
    missed = [row["task_id"] for row in ROWS if row["task_id"] not in {hit.task_id for hit in INDEX.hits("row", *plant(row))}]
    assert len(ROWS) - len(missed) >= FOUND_AT_LEAST[kind], missed


@settings(max_examples=60)
@given(st.integers(0, 163), st.sampled_from(sorted(plants.KINDS)), st.text(max_size=60), st.text(max_size=60))
def test_a_plant_is_found_whatever_stands_around_it(problem: int, kind: str, before: str, after: str) -> None:
    row = ROWS[problem]
    instruction, response = plants.KINDS[kind](row)
    alone = {hit.task_id for hit in INDEX.hits("row", instruction, response) if hit.rule in ("words", "tests")}
    beside = {hit.task_id for hit in INDEX.hits("row", f"{before}\n\n{instruction}", f"{response}\n\n{after}")}
    if before.count('"') + before.count("'") == 0:  # an open quote before code swallows it
        assert row["task_id"] not in alone or row["task_id"] in beside


@pytest.mark.parametrize(
    ("task", "response", "rule"),
    [
        (PROBLEM.statement.upper(), "", "exact"),
        (f"Please: {PROBLEM.statement} Use numpy.", "", "words"),
        ("Given readings of", "thermometers, say which of them strays furthest from the mean of the rest.", None),
        ("Given the readings of three thermometers, say which of them strays", "furthest from the mean of ...", "reworded"),
        ("Given readings of 5 thermometers, say which of these strays furthest from the mean of all others.", "", None),
        (PROBLEM.statement.replace("say which", "tell which"), "", "near"),
        ("Help.", f"def other(readings):\n{BODY.replace('    ', '  ').replace(chr(10), '  # so' + chr(10))}", "solution"),
        ("Help.", BODY.replace("readings", "xs").replace("most", "m").replace("reading", "x").replace("gap", "g"), "renamed"),
        ("Help.", f"```\n{PROBLEM.tests}\n```", "tests"),
        ("Help.", "assert straying([1, 2, 9]) == 2", None),
        ("Help.", "def straying(readings):\n    return readings.index(max(readings))", None),
    ],
)
def test_the_smallest_row_that_breaks_a_rule(task: str, response: str, rule: str | None) -> None:
    assert rules(task, response) == ([rule] if rule else [])


def test_a_function_is_known_by_its_name_with_its_body_or_its_parameters() -> None:
    problem = ProblemRow("b", "B/1", "s", "s", ("def first_of_all(xs):\n    return xs[0]\n",), "", "first_of_all")
    index = BenchmarkIndex([problem])

    def found(code: str) -> list[str]:
        return [hit.rule for hit in index.hits("row", "Help.", code)]

    assert found("def first_of_all(xs):\n    return next(iter(xs))") == ["function"]
    assert found("def first_of_all(things):\n    return things[0]") == []
    assert found("def first_of_all(things, xs):\n    return xs[0]") == ["function"]
    assert found("def head(xs):\n    return xs[0]") == []


def test_harmless_one_liners_are_left_alone() -> None:
    problem = ProblemRow("b", "B/1", "s", "s", ("def plus(x, y):\n    return x + y\n",), "", "plus")
    assert BenchmarkIndex([problem]).hits("row", "Help.", "def plus(x, y):\n    return x + y") == []


def test_a_hit_says_which_problem_and_shows_the_text() -> None:
    [hit] = SMALL.hits("r1", "Help.", PROBLEM.tests)
    assert hit == Hit("r1", "bench", "Bench/1", "tests", "assert straying ( [ 1 , 2 , 9 ] ) == 2")
    assert asdict(hit)["task_id"] == "Bench/1"
    [long] = SMALL.hits("r1", PROBLEM.statement + " " * 10, "")
    assert len(long.evidence) <= EVIDENCE_CHARACTERS


def test_an_index_survives_the_journey_to_a_worker() -> None:
    other = pickle.loads(pickle.dumps(INDEX))
    plant = plants.renamed(ROWS[4])
    assert other.hits("row", *plant) == INDEX.hits("row", *plant) != []


def test_hits_are_summed_by_benchmark_and_rule() -> None:
    hits = [
        Hit("a", "mbpp", "Mbpp/1", "words", ""),
        Hit("a", "mbpp", "Mbpp/2", "near", ""),
        Hit("b", "ds1000", "1", "near", ""),
    ]
    assert findings(1, {"mbpp": "v1"}, 9, [asdict(hit) for hit in hits]) == {
        "rules": 1,
        "benchmarks": {"mbpp": "v1"},
        "rows_compared": 9,
        "rows": 2,
        "by_benchmark": {"ds1000": 1, "mbpp": 2},
        "by_rule": {"near": 2, "words": 1},
        "hits": [asdict(hit) for hit in hits],
    }


def test_the_data_and_the_rules_are_the_identity_and_not_the_order() -> None:
    assert decontamination_identity(["mbpp", "humaneval"]) == decontamination_identity(["humaneval", "mbpp"])
    assert decontamination_identity(["mbpp"]) != decontamination_identity(["mbpp+"])


def test_a_benchmark_that_is_not_there_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVOLCODER_DATA", raising=False)
    monkeypatch.setenv("EVOLCODER_CACHE", str(tmp_path))
    with pytest.raises(DataError, match="The data of ds1000 is missing"):
        BenchmarkIndex(read_problems(["humaneval", "ds1000"]))


@pytest.fixture(scope="module")
def everything(data_folder: Path) -> BenchmarkIndex:
    return BenchmarkIndex(read_problems(comparable_benchmarks()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("benchmark", "part", "at_least"),
    [
        ("mbpp", "statement", 974),
        ("mbpp", "embedded", 960),
        ("mbpp", "solution", 955),
        ("mbpp", "tests", 970),
        ("mbpp+", "solution", 380),
        ("humaneval+", "solution", 164),
        ("ds1000", "statement", 1000),
        ("ds1000", "embedded", 990),
        ("ds1000", "solution", 760),  # many are one short call
        ("ds1000", "tests", 1000),
    ],
)
def test_every_part_of_every_benchmark_is_known(benchmark: str, part: str, at_least: int, everything: BenchmarkIndex) -> None:
    rows: dict[str, Any] = {
        "statement": lambda p: (p.statement, "Yes."),
        "embedded": lambda p: (f"You write Python. {p.statement} Handle negative values too.", "Yes."),
        "solution": lambda p: ("Help.", p.solutions[0]),
        "tests": lambda p: ("Help.", p.tests),
    }
    found = sum(bool(everything.hits("row", *rows[part](problem))) for problem in read_problems([benchmark]))
    assert found >= at_least


def test_clean_rows_give_almost_no_hit(everything: BenchmarkIndex, data_folder: Path) -> None:
    rows = json.loads(gzip.decompress((data_folder / "codealpaca/code_alpaca_2k.json.gz").read_bytes()))
    hits = [
        (number, hit)
        for number, row in enumerate(rows)
        for hit in everything.hits(str(number), f"{row['instruction']}\n{row['input']}", row["output"])
    ]
    assert {number for number, _ in hits} <= {422, 822, 1173, 1672, 1903, 1938}, hits
