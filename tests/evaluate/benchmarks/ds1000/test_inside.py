"""Values described as plain data and rebuilt: the same values for honest ones, and nothing else for dishonest ones."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import marshal
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.evaluate.benchmarks.ds1000.inside.describe import Describer
from evolcoder.evaluate.benchmarks.ds1000.inside.rebuild import Malformed, Rebuilder


class Other:
    """What stands for an object of another kind."""

    def __init__(self, kinds: tuple[str, ...]) -> None:
        self.kinds = kinds


def described(value: Any) -> Any:
    return Describer(lambda other: ("other", 0, (type(other).__name__,))).describe(value)


def rebuilt(description: Any) -> Any:
    return Rebuilder(lambda number, kinds: Other(kinds)).rebuild(description)


def crossed(value: Any) -> Any:
    """What arrives; the description itself must be plain data."""
    return rebuilt(marshal.loads(marshal.dumps(described(value), 2)))


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
VALUES = st.recursive(
    SCALARS | st.dates() | st.datetimes() | st.times() | st.timedeltas() | st.decimals(allow_nan=False, places=3),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner) | st.frozensets(SCALARS),
    max_leaves=20,
)


@given(VALUES)
def test_plain_values_arrive_as_they_are(value: Any) -> None:
    arrived = crossed(value)
    assert arrived == value
    assert type(arrived) is type(value)


@pytest.mark.parametrize(
    "dtype", ["?", "i1", "u2", "i4", "u8", "f2", "f4", "f8", "c8", "c16", "M8[ns]", "m8[D]", ">i4", ">f8", "U3", "S2", "O"]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3)])
def test_arrays_keep_type_shape_and_values(dtype: str, shape: tuple[int, ...]) -> None:
    value = np.arange(math.prod(shape)).reshape(shape).astype("i8").astype(dtype)
    arrived = crossed(value)
    assert type(arrived) is np.ndarray
    assert (arrived.dtype, arrived.shape) == (value.dtype, shape)
    np.testing.assert_array_equal(arrived, value)


@pytest.mark.parametrize(
    "value", [np.float32(1.5), np.int64(-3), np.bool_(True), np.complex128(1j), np.datetime64("2020-01-01")]
)
def test_numbers_of_numpy_keep_their_type(value: Any) -> None:
    arrived = crossed(value)
    assert (type(arrived), arrived) == (type(value), value)


def test_an_object_met_twice_is_one_object_again() -> None:
    inner = [1]
    array = np.zeros(2)
    first, second, third, fourth = crossed([inner, inner, array, array])
    assert first is second
    assert third is fourth


def test_subclasses_are_flattened() -> None:
    class Equal(list):  # type: ignore[type-arg]
        def __eq__(self, other: object) -> bool:
            return True

    class Lies(np.ndarray):
        pass

    assert crossed(Equal([1])) != [2]
    assert type(crossed(np.zeros(2).view(Lies))) is np.ndarray


class Nothing:
    pass


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "value",
    [Nothing(), np.ma.masked, np.ma.array([1, 2], mask=[0, 1]), np.zeros(2, dtype=[("a", "i4")]), np.zeros(1, "f16"), len],
    ids=["object", "masked", "partly masked", "records", "long double", "function"],
)
def test_what_cannot_cross_is_another_object(value: Any) -> None:
    assert isinstance(crossed(value), Other)
    assert isinstance(crossed([value])[0], Other)


def test_cycles_and_depth_end_in_another_object() -> None:
    deep: Any = 1
    for _ in range(1000):
        deep = [deep]
    for value in (CYCLE, deep):
        arrived = crossed(value)
        while isinstance(arrived, list):
            arrived = arrived[0]
        assert isinstance(arrived, Other)


def test_masks_that_hide_nothing_are_no_matter() -> None:
    np.testing.assert_array_equal(crossed(np.ma.array([1, 2], mask=[0, 0])), [1, 2])


def test_tensors_cross() -> None:
    torch = pytest.importorskip("torch")
    for value in (torch.arange(6).reshape(2, 3), torch.tensor(1.5), torch.ones(2, dtype=torch.bfloat16), torch.tensor([True])):
        arrived = crossed(value)
        assert (arrived.dtype, arrived.shape) == (value.dtype, value.shape)
        assert torch.equal(arrived, value)


@pytest.mark.parametrize(
    "description",
    [
        [1],
        (),
        ("unknown", 0),
        ("list", [1]),
        ("list", (1,), 0),
        ("list", [("again", 0)], 0),
        ("list", [("list", [], 1), ("list", [], 1)], 0),
        ("again", -1),
        ("again", 5),
        ("other", -1, ()),
        ("other", 0, (1,)),
        ("array", "<f8", (2,), bytes(8), False, 0),
        ("array", "<f8", (-1,), bytes(8), False, 0),
        ("array", "<f8", (1,), "text", False, 0),
        ("array", "O", (1,), bytes(8), False, 0),
        ("array", "V8", (1,), bytes(8), False, 0),
        ("array", "<f8,<f8", (1,), bytes(16), False, 0),
        ("array", "<f16", (1,), bytes(16), False, 0),
        ("strings", "<U900000000", (1,), ["a"], 0),
        ("strings", "<U1", (2,), ["a"], 0),
        ("strings", "S1", (1,), ["a"], 0),
        ("objects", (5,), [1], 0),
        ("objects", (10**9, 10**9), [], 0),
        ("dict", [[[], 1]], 0),
        ("dict", [[1]], 0),
        ("set", [("list", [], 1)], 0),
        ("datetime", 2020, 13, 1, 0, 0, 0, 0, None, 0),
        ("datetime", 2020, 1, 1, 0, 0, 0, 0, "../../etc/passwd", 0),
        ("decimal", "9" * 1000, 0),
        ("dtype", "import os", 0),
        ("range", 0, 1 << 70, 1, 0),
        ("str_", 1, 0),
    ],
)
def test_what_describes_nothing_is_refused(description: Any) -> None:
    with pytest.raises(Malformed):
        rebuilt(description)


def test_truths_are_true_or_false_and_nothing_between() -> None:
    arrived = rebuilt(("array", "|b1", (3,), bytes([0, 1, 7]), False, 0))
    assert arrived.view(np.uint8).tolist() == [0, 1, 1]


TAGS = st.sampled_from(["list", "dict", "array", "objects", "strings", "scalar", "again", "other", "datetime", "same", "range"])
PARTS = st.recursive(
    SCALARS | st.just("<f8"), lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.tuples(TAGS, inner), max_leaves=12
)


@given(st.tuples(TAGS, PARTS, PARTS, st.integers(0, 3)) | PARTS)
def test_no_description_raises_anything_else(description: Any) -> None:
    with contextlib.suppress(Malformed):
        rebuilt(description)


def test_times_with_zones() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=2))
    value = datetime.datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=zone)
    assert crossed(value) == value
    assert crossed(decimal.Decimal("1.50")) == decimal.Decimal("1.50")
