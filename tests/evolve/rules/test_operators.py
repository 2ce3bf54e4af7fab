"""Operators as data, the recorded draw, and ids by lineage."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evolve.rows import seed

from evolcoder.evolve.rules.elimination import PROMPT_PHRASES
from evolcoder.evolve.rules.operators import (
    OPERATORS,
    SHOWN_CODE,
    child_id,
    choose_operator,
    operators_of,
    prompts_fingerprint,
    request_seed,
    task_text,
)
from evolcoder.records import Instruction
from evolcoder.settings.evolve import PAPER_OPERATORS, OperatorSettings


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


DEFAULT = operators_of(PAPER_OPERATORS)


@given(st.text(max_size=10), st.integers(0, 99), st.integers())
def test_the_draw_is_the_same_for_the_same_arguments(parent: str, round_number: int, draw_seed: int) -> None:
    first = choose_operator(DEFAULT, draw_seed, seed(parent), round_number)
    assert first is choose_operator(DEFAULT, draw_seed, seed(parent), round_number)


def test_every_operator_gets_its_share_and_each_round_and_seed_draws_anew() -> None:
    parents = [seed(str(number)) for number in range(5000)]
    draws = Counter(choose_operator(DEFAULT, 0, parent, 1).name for parent in parents)
    assert all(800 < draws[name] < 1200 for name in PAPER_OPERATORS)
    one = [choose_operator(DEFAULT, 0, parent, 1).name for parent in parents[:100]]
    assert one != [choose_operator(DEFAULT, 0, parent, 2).name for parent in parents[:100]]
    assert one != [choose_operator(DEFAULT, 1, parent, 1).name for parent in parents[:100]]
    assert {choose_operator(operators_of(["complexity"]), 0, parent, 1).name for parent in parents[:100]} == {"complexity"}


def test_weights_are_shares() -> None:
    operators = operators_of([OperatorSettings(name="constraints", weight=3), "complexity"])
    draws = Counter(choose_operator(operators, 0, seed(str(number)), 1).name for number in range(4000))
    assert 2800 < draws["constraints"] < 3200


def test_an_operator_is_drawn_where_it_applies_alone() -> None:
    own = OperatorSettings(name="port", template="Port this: {task}", rounds=(2,), code=True)
    operators = operators_of([own, "complexity"])
    plain, coded = seed("Sort numbers."), seed("Mend this.", input="def f(x):\n    return x")

    def drawn(parent: Instruction, round_number: int) -> set[str]:
        return {choose_operator(operators, draw, parent, round_number).name for draw in range(50)}

    assert drawn(coded, 2) == {"port", "complexity"}
    assert drawn(plain, 2) == drawn(coded, 1) == {"complexity"}
    assert operators[0].prompt("def f(): ...") == "Port this: def f(): ..."


@pytest.mark.parametrize("text", ["a\n```\nx\n```", "Mend:\ndef f(x): ...", "int main() {", "x = 1;", "SELECT a FROM b"])
def test_code_in_a_task(text: str) -> None:
    assert SHOWN_CODE.search(text)


@pytest.mark.parametrize("text", ["Sort a list; then print it.", "Define a class of users.", "Import data from a file."])
def test_prose_is_no_code(text: str) -> None:
    assert not SHOWN_CODE.search(text)


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


def test_the_fingerprint_depends_on_all_that_decides_the_prompts() -> None:
    own = {"name": "mine", "template": "Do {task}"}
    variants = [
        operators_of(PAPER_OPERATORS),
        operators_of(PAPER_OPERATORS[:4]),
        *(
            operators_of([OperatorSettings(**(own | change))])
            for change in ({}, {"template": "Redo {task}"}, {"weight": 2.0}, {"rounds": (1,)}, {"code": False})
        ),
    ]
    assert len({prompts_fingerprint(operators) for operators in variants}) == len(variants)
    assert prompts_fingerprint(operators_of(["constraints"])) == prompts_fingerprint(
        operators_of([OperatorSettings(name="constraints")])
    )
