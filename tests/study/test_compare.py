from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evolcoder.study.compare import compare


def test_flips_are_named_both_ways() -> None:
    result = compare({"a": True, "b": False, "c": True}, {"a": True, "b": True, "c": False})
    assert (result.gained, result.lost, result.shared) == (["b"], ["c"], 3)


def test_only_shared_problems_count() -> None:
    result = compare({"a": True, "b": False}, {"b": True, "z": True})
    assert (result.shared, result.gained, result.lost) == (1, ["b"], [])


def test_mcnemar_exact_against_the_textbook() -> None:
    """Ten flips, all one way: 2 x (1/2)^10."""
    first = {str(i): False for i in range(10)}
    assert compare(first, dict.fromkeys(first, True)).p_value == 2 / 2**10


@given(st.dictionaries(st.text(max_size=3), st.tuples(st.booleans(), st.booleans())))
def test_order_of_models_does_not_change_the_p_value(pairs: dict[str, tuple[bool, bool]]) -> None:
    first = {task: pair[0] for task, pair in pairs.items()}
    second = {task: pair[1] for task, pair in pairs.items()}
    there, back = compare(first, second), compare(second, first)
    assert there.p_value == back.p_value
    assert (there.gained, there.lost) == (back.lost, back.gained)
    assert 0 <= there.p_value <= 1
