"""Exact and near-duplicates: which one falls, whatever the order and the partitions."""

from __future__ import annotations

import random
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evolve.rows import child, seed

from evolcoder.evolve.copies.dedup import Duplicate, find_duplicates, fingerprints, task_hash
from evolcoder.records import Instruction
from evolcoder.settings.evolve import DedupSettings

DEDUP = DedupSettings()
LONG = "Write a function that reads a file of readings, leaves out those of broken sensors, and returns the mean of each day"


def task(text: str, id: str, round: int = 1, root_id: str = "", **changes: str) -> Instruction:
    return seed(text, id=id, root_id=root_id or id, round=round, **changes)


def found(rows: list[Instruction], dedup: DedupSettings = DEDUP, round_number: int = 1, parts: int = 1) -> dict[str, str]:
    """The rows that fall, each with the one that it says again."""
    split = [fingerprints(rows[part::parts], dedup) for part in range(parts)]
    return {name: one.duplicate_of for name, one in find_duplicates(dedup, round_number, *split).items()}


def test_case_space_and_closing_punctuation_make_no_other_task() -> None:
    assert found([task("Sort  a list", "b"), task("sort a LIST.", "a")]) == {"b": "a"}
    assert found([task("Sort a list", "a"), task("Sort a list", "b", input="[1]")]) == {}
    assert task_hash(seed("a", input="b")) != task_hash(seed("a b"))


def test_a_near_duplicate_falls_with_its_similarity() -> None:
    rows = [task(f"{LONG}.", "a"), task(f"{LONG}, please.", "b"), task("Add two numbers.", "c")]
    [one] = find_duplicates(DEDUP, 1, fingerprints(rows, DEDUP)).values()
    assert (one.row_id, one.duplicate_of, one.kind) == ("b", "a", "near")
    assert 0.85 < one.similarity < 1
    assert found(rows, DedupSettings(near=False)) == {}
    assert found(rows, DedupSettings(threshold=1.0)) == {}


def test_an_earlier_round_stays_and_then_the_smaller_id() -> None:
    assert found([task(LONG, "a", round=2), task(LONG, "z", round=0)], round_number=2) == {"a": "z"}
    assert found([task(LONG, "z"), task(LONG, "a")]) == {"z": "a"}


def test_rows_of_earlier_rounds_never_fall() -> None:
    assert found([task(LONG, "a", round=0), task(LONG, "b", round=0), task("Other.", "c")]) == {}


def test_an_evolved_task_may_be_near_its_parent_but_not_the_same() -> None:
    parent = task(f"{LONG}.", "a", round=0)
    near, same = child(parent, 1, f"{LONG}, as a dictionary."), child(parent, 1, LONG.upper(), id="same")
    assert found([parent, near]) == {}
    assert found([parent, same]) == {"same": "a"}
    assert found([parent, child(task("x", "other", round=0), 1, near.instruction)]) != {}


def test_what_falls_makes_no_other_row_fall() -> None:
    words = [f"word{number}" for number in range(60)]
    chain = [task(" ".join(words[start : start + 40]), f"{start:02d}") for start in (0, 5, 10)]
    fallen = found(chain, DedupSettings(threshold=0.65))
    assert fallen == {"05": "00"}, "10 is like 05 alone, and 05 is gone"


@pytest.mark.parametrize(("one", "other"), [("C", "C++"), ("C", "C#")])
def test_languages_with_signs_in_their_names_differ(one: str, other: str) -> None:
    text = "{} program that sorts numbers in {}"
    rows = [task(text.format(language, language), str(number)) for number, language in enumerate((one, other))]
    assert found(rows) == {}


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_neither_order_nor_partitions_decide(draw: int, parts: int) -> None:
    rng = random.Random(draw)
    texts = [f"{LONG} {' '.join(rng.choices(['now', 'then', 'again', 'twice'], k=rng.randint(0, 8)))}" for _ in range(30)]
    rows = [task(text, f"{number:03d}", round=number % 2) for number, text in enumerate(texts)]
    rows = [row for row in rows if row.round or row.id in {"000", "002"}]
    shuffled = rng.sample(rows, len(rows))
    assert found(shuffled, parts=parts) == found(rows)
    fallen = found(rows)
    assert not set(fallen) & set(fallen.values()), "what a row says again is there to stay"


def test_no_rows_are_no_duplicates() -> None:
    assert find_duplicates(DEDUP, 0, fingerprints([], DEDUP)) == {}


def test_a_duplicate_is_plain_data() -> None:
    assert asdict(Duplicate("a", "b", "near", 0.8)) == {
        "row_id": "a", "duplicate_of": "b", "kind": "near", "similarity": 0.8,
    }  # fmt: skip
