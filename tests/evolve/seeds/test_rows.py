"""What the fields of a row mean, and which of several seeds are drawn."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.evolve.seeds.rows import (
    USUAL_NAMES,
    Seed,
    UnusableRowError,
    draw,
    field_names,
    map_row,
    normalise,
    without_duplicates,
)
from evolcoder.settings.evolve import SeedColumns

ASKED = {"role": "user", "content": "Sort a list."}
ANSWERED = {"role": "assistant", "content": "sorted(x)"}
PAIR = Seed("Sort a list.", "", "sorted(x)")


@pytest.mark.parametrize(
    "row",
    [
        {"query": "Sort a list.", "answer": "sorted(x)"},
        {"question": "Sort a list.", "answer": "sorted(x)", "input": float("nan")},
        {"messages": [ASKED, ANSWERED]},
        {"messages": [ASKED, ANSWERED], "prompt": "Sort a list.", "prompt_id": "7"},
        {"conversations": [{"from": "human", "value": "Sort a list."}, {"from": "gpt", "value": "sorted(x)"}]},
        {"conversation": [{"role": "Human", "value": "Sort a list."}, {"role": "model", "value": "sorted(x)"}]},
        {"conversations": json.dumps([ASKED, ANSWERED])},
        {"conversations": {"from": ["human", "gpt"], "value": ["Sort a list.", "sorted(x)"]}},
        {"prompt": [ASKED], "completion": [ANSWERED]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Sort a list."}]}, ANSWERED]},
        {"messages": [{**ASKED, "value": None}, {**ANSWERED, "tool_calls": None}]},
    ],
)
def test_one_pair_in_many_layouts(row: dict[str, Any]) -> None:
    seed = map_row(row)
    assert seed == PAIR
    assert not seed.shortened


@pytest.mark.parametrize(
    "turns",
    [
        [{"role": "system", "content": "Be brief."}, ASKED, ANSWERED],
        [{"role": "assistant", "content": "Hello!"}, ASKED, ANSWERED],
        [ASKED, ANSWERED, ASKED, {"role": "assistant", "content": "list.sort"}],
    ],
)
def test_of_a_longer_conversation_the_first_exchange_counts(turns: list[dict[str, str]]) -> None:
    seed = map_row({"messages": turns})
    assert seed == PAIR
    assert seed.shortened


def test_an_answer_belongs_to_the_question_before_it() -> None:
    assert map_row({"messages": [ASKED, {"role": "tool", "content": "7"}, ANSWERED]}) == Seed("Sort a list.", "", "")
    assert map_row({"messages": [ASKED]}) == Seed("Sort a list.", "", "")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": []}, "no instruction"),
        ({"messages": [ANSWERED]}, "no instruction"),
        ({"messages": "hello"}, "no instruction"),
        ({"conversations": ["a", "b"]}, "no instruction"),
        ({"messages": [{"role": "user", "content": 5}]}, "a number as its messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "a part in its messages that is not text"),
        ({"instruction": float("inf")}, "a number as its instruction"),
        ({"prompt": [1, 2]}, "a list as its prompt"),
    ],
)
def test_a_row_that_is_none_of_them_says_why(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnusableRowError, match=reason):
        map_row(row)


def test_given_columns_stand_in_the_place_of_the_usual_names() -> None:
    columns = SeedColumns(instruction="task", response="chosen", messages="dialog")
    assert map_row({"task": "Sort a list.", "chosen": [ASKED, ANSWERED], "output": "no"}, columns) == PAIR
    assert map_row({"instruction": "no", "dialog": [ASKED, ANSWERED], "task": "no"}, columns) == PAIR
    with pytest.raises(UnusableRowError, match="no instruction"):
        map_row({"instruction": "Sort a list."}, columns)
    names = {name for names in field_names(columns).values() for name in names}
    assert {"task", "chosen", "dialog", "input"} <= names
    assert not {"instruction", "output", "messages"} & names


def test_an_id_is_that_of_the_text_as_it_reads() -> None:
    plain, spaced = Seed("Sort \u00e9.\nNow.", "x", ""), Seed("Sort e\u0301.  \r\nNow.\n", " x", "y")
    assert plain.id == spaced.id
    assert without_duplicates([plain, spaced]) == [spaced]


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


@given(st.sampled_from(USUAL_NAMES["instruction"]), st.sampled_from(USUAL_NAMES["response"]), words, words, words)
def test_fields_are_found_under_all_their_names(task: str, answer: str, instruction: str, response: str, other: str) -> None:
    row = {"id": 7, answer: response, "input": other, task: instruction, "tags": ["x"]}
    seed = map_row(row)
    found = (seed.instruction, seed.input, seed.response)
    assert [normalise(text) for text in found] == [normalise(text) for text in (instruction, other, response)]
    assert all(kept in given for kept, given in zip(found, (instruction, other, response), strict=True))


KEYS = [*USUAL_NAMES["instruction"], "input", "output", "messages", "role", "content"]
anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner),
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
