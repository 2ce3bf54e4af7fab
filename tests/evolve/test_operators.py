"""Operators as data, the recorded draw, and ids by lineage."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.evolve.elimination import PROMPT_PHRASES
from evolcoder.evolve.operators import (
    OPERATORS,
    child_id,
    choose_operator,
    prompts_fingerprint,
    request_seed,
    task_text,
)
from evolcoder.settings import PAPER_OPERATORS

from .rows import seed


def test_the_operators_are_the_papers() -> None:
    assert tuple(OPERATORS) == PAPER_OPERATORS


@pytest.mark.parametrize("name", PAPER_OPERATORS)
def test_a_prompt_holds_the_task_once_whatever_is_in_it(name: str) -> None:
    task = "Print {task} and {0} with 100 % of {braces}."
    prompt = OPERATORS[name].prompt(task)
    assert prompt.count(task) == 1
    assert "{method}" not in prompt


@pytest.mark.parametrize("name", PAPER_OPERATORS)
def test_words_of_the_prompt_are_those_that_betray_a_copy(name: str) -> None:
    assert any(phrase in OPERATORS[name].prompt("x").lower() for phrase in PROMPT_PHRASES)


@given(st.text(max_size=10), st.integers(0, 99), st.integers())
def test_the_draw_is_the_same_for_the_same_arguments(parent: str, round_number: int, draw_seed: int) -> None:
    first = choose_operator(PAPER_OPERATORS, draw_seed, parent, round_number)
    assert first is choose_operator(PAPER_OPERATORS, draw_seed, parent, round_number)


def test_every_operator_gets_its_share_and_each_round_and_seed_draws_anew() -> None:
    draws = Counter(choose_operator(PAPER_OPERATORS, 0, str(number), 1).name for number in range(5000))
    assert all(800 < draws[name] < 1200 for name in PAPER_OPERATORS)
    parents = [str(number) for number in range(100)]
    one = [choose_operator(PAPER_OPERATORS, 0, parent, 1).name for parent in parents]
    assert one != [choose_operator(PAPER_OPERATORS, 0, parent, 2).name for parent in parents]
    assert one != [choose_operator(PAPER_OPERATORS, 1, parent, 1).name for parent in parents]
    assert {choose_operator(["complexity"], 0, parent, 1).name for parent in parents} == {"complexity"}


def test_an_id_stands_for_the_lineage() -> None:
    root = seed("a task")
    ids = {child_id(root, "constraints", 1), child_id(root, "constraints", 2), child_id(root, "complexity", 1)}
    assert len(ids) == 3
    assert child_id(root, "constraints", 1) == child_id(root, "constraints", 1)


def test_two_requests_of_a_row_have_seeds_of_their_own() -> None:
    assert request_seed("a", "evolve") != request_seed("a", "respond") != request_seed("b", "respond")
    assert 0 <= request_seed("a", "evolve") < 2**31


def test_an_input_is_part_of_the_task() -> None:
    assert task_text("Add.", "") == "Add."
    assert task_text("Add.", "1 2").endswith("1 2")


def test_the_fingerprint_depends_on_the_operators_in_use() -> None:
    assert prompts_fingerprint(PAPER_OPERATORS) != prompts_fingerprint(PAPER_OPERATORS[:4])
