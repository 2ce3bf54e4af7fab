from __future__ import annotations

import hashlib
import marshal
import math
import struct
from collections import Counter, OrderedDict, defaultdict
from enum import IntEnum
from fractions import Fraction
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.sandbox.inside.codec import MARSHAL_VERSION, Bounds, CodecError, Digest, Opaque, decode, encode, encode_fast

NUMBERS = st.integers() | st.floats(allow_nan=False) | st.complex_numbers(allow_nan=False)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=10) | st.binary(max_size=10)
HASHABLE = st.recursive(SCALARS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=4)
VALUES = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.sets(HASHABLE, max_size=3)
        | st.dictionaries(HASHABLE, inner, max_size=3)
    ),
    max_leaves=10,
)


def typed(value: Any) -> Any:
    """The value with the type of each part written beside it, so that 1, 1.0 and True differ."""
    if isinstance(value, dict):
        return (dict, [(typed(k), typed(v)) for k, v in value.items()])
    if isinstance(value, list | tuple):
        return (type(value), [typed(v) for v in value])
    if isinstance(value, set | frozenset):
        return (type(value), sorted(repr(typed(v)) for v in value))
    return (type(value), value)


@given(VALUES)
def test_plain_data_comes_back_with_its_types(value: Any) -> None:
    assert typed(decode(encode(value))) == typed(value)


@given(VALUES)
def test_the_bytes_are_those_of_marshal(value: Any) -> None:
    assert encode(value) == marshal.dumps(value, MARSHAL_VERSION) == encode_fast(value)
    assert typed(marshal.loads(encode(value))) == typed(value)


@pytest.mark.parametrize("value", [1 << 70_000, "x" * 5_000_000], ids=["int", "text"])
def test_fast_bytes_are_bounded_too(value: Any) -> None:
    with pytest.raises(CodecError):
        decode(encode_fast(value))


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("item", [1 << 40, "text", (1, [2.5]), Opaque("thing")], ids=["int", "text", "nested", "opaque"])
@pytest.mark.parametrize("count", [9_999, 10_000, 10_001, 10_239, 10_240, 10_241])
def test_long_sequences_have_the_same_bytes_and_their_digest(kind: Any, item: Any, count: int) -> None:
    value = kind([item] * count)
    whole = encode(value, opaque=True)
    assert encode_fast(value) == encode_fast(value, digests=True) == whole
    assert encode_fast(value, Bounds(total_bytes=len(whole))) == whole
    small = Bounds(total_bytes=len(whole) - 1)
    assert encode_fast(value, small, digests=True) == Digest(hashlib.sha256(whole).digest(), len(whole))
    with pytest.raises(CodecError, match="more than"):
        encode_fast(value, small)


def test_nan_and_signed_zero_survive() -> None:
    assert math.isnan(decode(encode(float("nan"))))
    assert math.copysign(1, decode(encode(-0.0))) == -1


def test_lone_surrogates_survive() -> None:
    assert decode(encode("a\ud800b")) == "a\ud800b"


@given(st.binary(max_size=300))
def test_no_bytes_break_the_decoder(data: bytes) -> None:
    try:
        decode(data)
    except CodecError:
        return


@given(VALUES, st.integers(min_value=0), st.integers(min_value=0, max_value=255))
def test_no_damage_breaks_the_decoder(value: Any, place: int, byte: int) -> None:
    data = bytearray(encode(value))
    data[place % len(data)] = byte
    try:
        decode(bytes(data))
    except CodecError:
        return


@given(VALUES)
def test_every_prefix_is_refused(value: Any) -> None:
    data = encode(value)
    with pytest.raises(CodecError):
        decode(data[:-1])
    with pytest.raises(CodecError, match="left over"):
        decode(data + b"N")


class Liar(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class Colour(IntEnum):
    RED = 1


class Point(NamedTuple):
    x: int
    y: int


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Liar(7), 7),
        ([Liar(7)], [7]),
        (Colour.RED, 1),
        (Point(1, 2), (1, 2)),
        (Counter("aab"), {"a": 2, "b": 1}),
        (defaultdict(list, {1: [2]}), {1: [2]}),
        (OrderedDict(a=1), {"a": 1}),
        (bytearray(b"x"), b"x"),
    ],
)
def test_subclasses_are_flattened(value: Any, plain: Any) -> None:
    assert typed(decode(encode(value))) == typed(plain)


def test_numpy_scalars_are_numbers_and_arrays_are_not_lists() -> None:
    numpy = pytest.importorskip("numpy")
    assert typed(decode(encode([numpy.int64(3), numpy.float64(0.5), numpy.bool_(True)]))) == typed([3, 0.5, True])
    assert isinstance(decode(encode(numpy.arange(3), opaque=True)), Opaque)


@pytest.mark.parametrize("value", [object(), range(3), Fraction(1, 2), (i for i in "ab"), int, len, {1: 2}.keys()], ids=repr)
def test_anything_else_is_opaque_and_equals_nothing(value: Any) -> None:
    with pytest.raises(CodecError, match="is no plain data"):
        encode([value])
    (opaque,) = decode(encode([value], opaque=True))
    assert opaque.type_name == type(value).__name__
    assert opaque != opaque
    assert opaque != value
    assert [opaque] != [object()]
    with pytest.raises(TypeError, match="no plain data"):
        bool(opaque)


def frame(tag: bytes, count: int, body: bytes = b"") -> bytes:
    return tag + struct.pack("<I", count) + body


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "too early"),
        (b"?\0\0\0\0", "unknown tag"),
        (marshal.dumps(compile("1", "x", "eval"), 2), "unknown tag b'c'"),
        (marshal.dumps((1, 1), 4), "unknown tag"),
        (frame(b"[", 2**32 - 1), "more items"),
        (frame(b"(", 2**31), "more items"),
        (b"{" * 100, "nested deeper than 64"),
        (b"{NT", "too early"),
        (b"0", "unknown tag"),
        (frame(b"[", 1, b"0"), "unknown tag"),
        (frame(b"u", 1, b"\xff"), "not UTF-8"),
        (frame(b"<", 1, frame(b"[", 0)), "unhashable"),
        (b"{" + frame(b"[", 0) + b"N0", "unhashable"),
        (frame(b"<", 2, b"NN"), "equal members"),
        (frame(b"<", 2, b"T" + encode(1)), "equal members"),
        (b"{NTNF0", "equal keys"),
        (frame(b"[", 1) * 100 + b"N", "nested deeper than 64"),
        (b"l" + struct.pack("<i", 9000) + b"\x01" * 18000, "an int of more than 8192 bytes"),
        (b"l" + struct.pack("<i", -(2**31)), "an int of more than 8192 bytes"),
        (b"l" + struct.pack("<iH", 1, 1 << 15), "a digit of an int"),
        (b"l" + struct.pack("<i", 3) + b"\x01\x00", "too early"),
    ],
)
def test_malformed_bytes(data: bytes, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        decode(data)


def test_bounds_hold_on_both_sides() -> None:
    nested: list[Any] = []
    for _ in range(70):
        nested = [nested]
    for value, message in ((nested, "nested deeper"), (1 << 70_000, "an int of more"), ("x" * 5_000_000, "bytes")):
        with pytest.raises(CodecError, match=message):
            encode(value)
    with pytest.raises(CodecError, match="more items"):
        decode(encode([0] * 10), Bounds(items=10))
    with pytest.raises(CodecError, match="bytes are more than"):
        decode(b"N" * 11, Bounds(total_bytes=10))


@pytest.mark.parametrize("kind", [set, frozenset, dict.fromkeys])
def test_colliding_hashes_are_refused_before_a_set_is_built(kind: Any) -> None:
    modulus = 2**61 - 1
    assert len(decode(encode(kind([i * modulus for i in range(1, 16)])))) == 15
    with pytest.raises(CodecError, match="same hash"):
        decode(encode(kind([i * modulus for i in range(1, 30)])))


def test_a_cycle_is_an_error_and_not_an_endless_loop() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(CodecError, match="nested deeper"):
        encode(value)
