"""Rows keep their shape through Arrow, and hashes tell parts apart."""

from __future__ import annotations

import dataclasses
import json
import pickle
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder import errors
from evolcoder.records import COMPLETION_SCHEMA, INSTRUCTION_SCHEMA, VERDICT_SCHEMA, Completion, Instruction, Verdict
from evolcoder.storage.hashes import fingerprint, stable_hash

text = st.text(st.characters(codec="utf-8"), max_size=20)
count = st.integers(0, 2**40)

ROWS = st.one_of(
    st.builds(
        Instruction, id=text, round=st.integers(0, 99), parent_id=st.none() | text, root_id=text, operator=text,
        instruction=text, input=text, response=text, teacher=text, sampling=text, prompt_tokens=count, completion_tokens=count,
        request_keys=st.lists(text, max_size=3), status=st.sampled_from(["kept", "eliminated", "failed"]),
        reason=st.none() | text,
    ),
    st.builds(
        Completion, task_id=text, sample=st.integers(0, 200), prompt=text, answer=text, finish_reason=text, prompt_tokens=count,
        completion_tokens=count,
    ),
    st.builds(
        Verdict, task_id=text, sample=st.integers(0, 200), status=st.sampled_from(["passed", "infra_error"]), detail=text,
        program=text, cpu_seconds=st.floats(0, 100), wall_seconds=st.floats(0, 100),
    ),
)  # fmt: skip
SCHEMAS = {Instruction: INSTRUCTION_SCHEMA, Completion: COMPLETION_SCHEMA, Verdict: VERDICT_SCHEMA}


@given(ROWS)
def test_a_row_is_the_same_after_arrow(row: Any) -> None:
    table = pa.Table.from_pylist([row.to_row()], SCHEMAS[type(row)])
    table.validate(full=True)
    (back,) = table.to_pylist()
    assert type(row).from_row(back | {"added_by_a_later_version": 1}) == row


@pytest.mark.parametrize("kind", SCHEMAS, ids=lambda kind: kind.__name__)
def test_a_schema_names_the_fields_of_its_row_in_their_order(kind: type) -> None:
    assert SCHEMAS[kind].names == [field.name for field in dataclasses.fields(kind)]


def test_the_schemas_are_those_of_the_files_that_finished_runs_hold() -> None:
    kinds = {"string": "s", "int32": "i", "int64": "l", "double": "d", "list<item: string>": "L"}
    found = {
        kind.__name__: "".join(kinds[str(field.type)] + ("?" if field.nullable else "") for field in schema)
        for kind, schema in SCHEMAS.items()
    }
    assert found == {"Instruction": "sis?sssssssllLss?", "Completion": "sissslls", "Verdict": "sisss?ssdd"}


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_a_hash_depends_on_every_part_and_on_where_one_ends(one: list[str], other: list[str]) -> None:
    assert (stable_hash(*one) == stable_hash(*other)) == (one == other)
    assert len(stable_hash(*one)) == 20
    assert stable_hash(*one).isascii()


def test_a_hash_is_the_same_for_ever() -> None:
    """Ids and journals on disk stand on it."""
    assert stable_hash() == "e3b0c44298fc1c149afb"
    assert stable_hash("ab", "") != stable_hash("a", "b") != stable_hash("ab")
    assert stable_hash("evolve", "ü\ud800") == stable_hash("evolve", "ü\ud800")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), plain, max_size=5), st.randoms(use_true_random=False))
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(value: dict[str, Any], random: Any) -> None:
    keys = list(value)
    random.shuffle(keys)
    assert fingerprint({key: value[key] for key in keys}) == fingerprint(value)
    assert fingerprint(json.loads(json.dumps(value))) == fingerprint(value)
    assert fingerprint(value | {"other": 1, "one more": [1]}) != fingerprint(value | {"other": 1})


def test_errors_keep_their_sentence_between_processes() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.EvolcoderError)]
    assert len(kinds) > 8
    for kind in kinds:
        again = pickle.loads(pickle.dumps(kind("Do this.")))
        assert (type(again), again.message, again.exit_code) == (kind, "Do this.", kind.exit_code)
        assert kind.exit_code != 0
    assert errors.SettingsError().message == "SettingsError"
