"""Each rule by its smallest example; most are compared with what evalplus itself would say in ``benchmarks/parity.py``."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.evaluate.benchmarks.evalplus_rules import Oracle, agrees, is_floats
from evolcoder.sandbox.inside.codec import Opaque

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=6,
)


def same(got: Any, expected: Any, atol: float = 0.0) -> bool:
    return agrees(Oracle("humaneval", "f", atol), (), got, expected)


@pytest.mark.parametrize(
    ("got", "expected", "right"),
    [
        (1, 1, True),
        (1, 2, False),
        (True, 1, True),
        (1.0, 1, True),
        ([1, 2], (1, 2), False),
        (0.1 + 0.2, 0.3, True),
        (0.3 + 1e-5, 0.3, False),
        ([0.1 + 0.2], [0.3], True),
        ((0.1 + 0.2,), [0.3], False),
        ([0.1 + 0.2, 1], [0.3, 1], False),
        (float("nan"), float("nan"), False),
        (None, 0.5, False),
        ("0.3", 0.3, False),
        ([0.3, 0.3], [0.3], False),
        (Opaque("Fraction"), 0.5, False),
        (10**400, 0.5, False),
    ],
)
def test_equality_and_floats(got: Any, expected: Any, right: bool) -> None:
    assert same(got, expected) is right


def test_the_datas_own_tolerance() -> None:
    assert same(1.00005, 1.0, 1e-4)
    assert not same(1.001, 1.0, 1e-4)
    assert not same(1, 1.00005, 1e-4), "the types must be the same"


@given(PLAIN, PLAIN)
def test_no_output_breaks_the_oracle(got: Any, expected: Any) -> None:
    for name in ("f", "find_zero", "surface_Area", "digit_distance_nums", "similar_elements", "check_str", "sum_div"):
        for dataset in ("humaneval", "mbpp"):
            assert agrees(Oracle(dataset, name, 1e-4), ([1, 2],), got, expected) in (True, False)


def test_a_root_is_judged_by_the_polynomial() -> None:
    rule = Oracle("humaneval", "find_zero", 1e-4)
    assert agrees(rule, ([-4.0, 0.0, 1.0],), -2.0, 2.0)
    assert not agrees(rule, ([-4.0, 0.0, 1.0],), 2.1, 2.0)
    assert not agrees(rule, ([-4.0, 0.0, 1.0],), None, 2.0)


def test_special_mbpp_tasks() -> None:
    def mbpp(name: str, arguments: tuple[Any, ...], got: Any, expected: Any) -> bool:
        return agrees(Oracle("mbpp", name, 0.0), arguments, got, expected)

    assert mbpp("are_equivalent", (), "anything", True)
    assert mbpp("sum_div", (), 0, 7)
    assert not mbpp("sum_div", (), 1, 7)
    assert mbpp("similar_elements", (), (5, 4), (4, 5))
    assert mbpp("similar_elements", (), [4, 5, 5], (4, 5))
    assert not mbpp("similar_elements", (), 3, (4, 5))
    assert mbpp("digit_distance_nums", (1, 100), 2, 5)
    assert mbpp("check_str", (), Opaque("Match"), Opaque("Match"))
    assert mbpp("check_str", (), True, Opaque("Match"))
    assert not mbpp("check_str", (), False, Opaque("Match"))
    assert mbpp("check_str", (), None, None)
    assert not mbpp("check_str", (), Opaque("Match"), None)


def test_floats_are_floats_all_through() -> None:
    assert is_floats(0.5)
    assert is_floats([0.5, 1.0])
    assert not is_floats([])
    assert not is_floats([0.5, 1])
    assert not is_floats({0.5})
