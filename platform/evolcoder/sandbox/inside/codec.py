"""Plain data to bytes and back, between the trusted side and a program that may lie.

Only None, bool, int, float, complex, str, bytes, list, tuple, set, frozenset and dict cross, and what arrives has exactly
those builtin types: a subclass is flattened to the builtin it extends, by the sender, and anything else becomes an
``Opaque`` that equals nothing. No code of the sender runs where the bytes are decoded, and every bound is checked before
memory or time is spent. This file is also used inside the box, so it needs the standard library alone.

The bytes are those of the standard library's ``marshal``, version 2, for the types above, and one tag more for an Opaque.
So data from the trusted side can be read inside the box with ``marshal.loads``, and an honest program's results written
with ``marshal.dumps``, both at C speed; what a program sends is read here only, never by ``marshal``.

Not kept: identity (a list seen twice arrives as two lists), cycles, and what objects can do.
"""

from __future__ import annotations

import hashlib
import marshal
import struct
import sys
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Any, NamedTuple

MARSHAL_VERSION = 2
"""The last one without references between parts, which would let few bytes stand for much data."""

_LENGTH = struct.Struct("<I")
_INT = struct.Struct("<i")
_COMPLEX = struct.Struct("<dd")
_DIGIT_BITS = 15
_MAX_NAME_CHARACTERS = 100
_CONSTANTS = {b"N": None, b"T": True, b"F": False}
_FIXED = {b"i": _INT, b"g": struct.Struct("<d")}
_SIZED = {b"(": tuple, b"[": list, b"<": set, b">": frozenset}
_END_OF_DICT = b"0"
_LONG_ITEMS = 10_000
_PIECE_ITEMS = 256


class CodecError(Exception):
    """The value cannot be encoded, or the bytes are no value within bounds."""


class TooLargeError(CodecError):
    """The value takes more bytes than allowed; there is nothing else wrong with it so far."""


class Bounds(NamedTuple):
    """What a decoded value may be at most. ``equal_hashes``: items of one set or dict that share a full hash."""

    total_bytes: int = 4 << 20
    depth: int = 64
    items: int = 1_000_000
    int_bytes: int = 8192
    equal_hashes: int = 16


DEFAULT_BOUNDS = Bounds()


class Opaque:
    """Stands for an object that is no plain data. Equal to nothing, itself included, and neither true nor false."""

    __slots__ = ("type_name",)

    def __init__(self, type_name: str) -> None:
        self.type_name = type_name

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise TypeError(f"the program returned a {self.type_name}, which is no plain data")

    def __repr__(self) -> str:
        return f"<opaque {self.type_name}>"


def encode(value: Any, bounds: Bounds = DEFAULT_BOUNDS, opaque: bool = False) -> bytes:
    """The bytes of a value.

    Args:
        opaque: send what is no plain data as an Opaque; otherwise it is an error.

    Raises:
        CodecError: too deep, too large, or no plain data.
    """
    encoder = _Encoder(bounds, opaque)
    encoder.add(value, 0)
    return bytes(encoder.out)


class Digest(NamedTuple):
    """Stands for the bytes of a value that are too many to be held: their SHA-256 and their number."""

    sha256: bytes
    size: int


def encode_fast(value: Any, bounds: Bounds = DEFAULT_BOUNDS, digests: bool = False) -> bytes | Digest:
    """The same bytes as ``encode(value, bounds, opaque=True)``, by ``marshal`` where it sees all there is to see.

    Args:
        digests: give the digest of a value that is too large, whose bytes are never held together when it is a long list.

    Raises:
        CodecError: too deep, or too large without ``digests``.
    """
    if type(value) in (list, tuple) and len(value) > _LONG_ITEMS:
        head = (b"[" if type(value) is list else b"(") + _LENGTH.pack(len(value))
        parts = (value[start : start + _PIECE_ITEMS] for start in range(0, len(value), _PIECE_ITEMS))
        pieces = chain((head,), (_whole(part, bounds, digests)[len(head) :] for part in parts))
    else:
        pieces = chain((_whole(value, bounds, digests),))
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size > bounds.total_bytes:
            break
    else:
        return b"".join(held)
    if not digests:
        raise TooLargeError(f"more than {bounds.total_bytes} bytes")
    found = hashlib.sha256(b"".join(held))
    for piece in pieces:
        found.update(piece)
        size += len(piece)
    return Digest(found.digest(), size)


def _whole(value: Any, bounds: Bounds, digests: bool) -> bytes:
    # Marshal takes a numpy number for a buffer of bytes, so where numpy was imported the slow way is the only one.
    if "numpy" not in sys.modules:
        try:
            return marshal.dumps(value, MARSHAL_VERSION)
        except ValueError:
            pass  # a subclass or no plain data
    return encode(value, bounds._replace(total_bytes=sys.maxsize) if digests else bounds, opaque=True)


def decode(data: bytes, bounds: Bounds = DEFAULT_BOUNDS) -> Any:
    """The value in the bytes.

    Raises:
        CodecError: the bytes are malformed or break a bound. Nothing else is raised.
    """
    if len(data) > bounds.total_bytes:
        raise CodecError(f"{len(data)} bytes are more than the {bounds.total_bytes} allowed")
    decoder = _Decoder(data, bounds)
    value = decoder.take(0)
    if decoder.position != len(data):
        raise CodecError("bytes are left over")
    return value


class _Encoder:
    def __init__(self, bounds: Bounds, opaque: bool) -> None:
        self.out = bytearray()
        self._bounds = bounds
        self._opaque = opaque

    def add(self, value: Any, depth: int) -> None:
        # What a value is, and what is in it, is asked of the builtin types: a subclass may answer anything.
        if depth > self._bounds.depth:
            raise CodecError(f"nested deeper than {self._bounds.depth}")
        self._check_size(len(self.out))
        if value is None or value is True or value is False:
            self.out += marshal.dumps(value, MARSHAL_VERSION)
        elif isinstance(value, int):
            if int.bit_length(value) // 8 + 1 > self._bounds.int_bytes:
                raise CodecError(f"an int of more than {self._bounds.int_bytes} bytes")
            self.out += marshal.dumps(int.__int__(value), MARSHAL_VERSION)
        elif isinstance(value, float):
            self.out += marshal.dumps(float.__float__(value), MARSHAL_VERSION)
        elif isinstance(value, complex):
            self.out += b"y" + _COMPLEX.pack(value.real, value.imag)
        elif isinstance(value, str):
            self._add_sized(b"u", str.encode(value, "utf-8", "surrogatepass"))
        elif isinstance(value, bytes | bytearray):
            self._add_sized(b"s", bytes(value))
        elif isinstance(value, dict):
            self.out += b"{"
            for key, item in dict.items(value):
                self.add(key, depth + 1)
                self.add(item, depth + 1)
            self.out += _END_OF_DICT
        elif isinstance(value, list | tuple | set | frozenset):
            self._add_container(value, depth)
        else:
            self._add_object(value, depth)

    def _check_size(self, size: int) -> None:
        if size > self._bounds.total_bytes:
            raise TooLargeError(f"more than {self._bounds.total_bytes} bytes")

    def _add_sized(self, tag: bytes, data: bytes) -> None:
        self._check_size(len(data))
        self.out += tag + _LENGTH.pack(len(data)) + data

    def _add_container(self, value: Any, depth: int) -> None:
        tag, kind = next((tag, kind) for tag, kind in _SIZED.items() if isinstance(value, kind))
        count = kind.__len__(value)  # type: ignore[attr-defined]
        self._check_size(count)
        self.out += tag + _LENGTH.pack(count)
        if kind in (list, tuple):
            for item in kind.__iter__(value):
                self.add(item, depth + 1)
            return
        # Marshal puts the members of a set in the order of their bytes, so that equal sets have equal bytes.
        parts = []
        for item in kind.__iter__(value):  # type: ignore[attr-defined]
            part = _Encoder(self._bounds, self._opaque)
            part.add(item, depth + 1)
            parts.append(part.out)
        self.out += b"".join(sorted(parts))

    def _add_object(self, value: Any, depth: int) -> None:
        kind = type(value)
        if kind.__module__ == "numpy" and kind.__name__ != "ndarray" and hasattr(value, "item"):
            plain = value.item()  # a numpy scalar equals the Python number that it holds
            if type(plain) is not kind:
                self.add(plain, depth + 1)
                return
        if not self._opaque:
            raise CodecError(f"a {kind.__name__} is no plain data")
        self._add_sized(b"o", kind.__name__[:_MAX_NAME_CHARACTERS].encode("utf-8", "replace"))


class _Decoder:
    def __init__(self, data: bytes, bounds: Bounds) -> None:
        self.position = 0
        self._data = data
        self._bounds = bounds
        self._items_left = bounds.items

    def take(self, depth: int) -> Any:
        tag = self._raw(1)
        # Bounds first: a tag may claim 4 GiB of items, and each level of nesting is a call on the trusted side's stack.
        if depth > self._bounds.depth:
            raise CodecError(f"nested deeper than {self._bounds.depth}")
        self._items_left -= 1
        if self._items_left < 0:
            raise CodecError(f"more than {self._bounds.items} items")
        if tag in _CONSTANTS:
            return _CONSTANTS[tag]
        if tag in _FIXED:
            return _FIXED[tag].unpack(self._raw(_FIXED[tag].size))[0]
        if tag == b"y":
            return complex(*_COMPLEX.unpack(self._raw(16)))
        if tag == b"{":
            return self._dict(depth)
        if tag == b"l":
            return self._int(_INT.unpack(self._raw(4))[0])
        if tag not in _SIZED and tag not in (b"u", b"s", b"o"):
            raise CodecError(f"unknown tag {tag!r}")
        (count,) = _LENGTH.unpack(self._raw(4))
        if tag in _SIZED:
            return self._container(_SIZED[tag], count, depth)
        raw = self._raw(count)
        if tag == b"s":
            return raw
        try:
            text = raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise CodecError("text that is not UTF-8") from None
        return text if tag == b"u" else Opaque(text[:_MAX_NAME_CHARACTERS])

    def _raw(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self._data):
            raise CodecError("the bytes end too early")
        part = self._data[self.position : end]
        self.position = end
        return part

    def _int(self, signed_count: int) -> int:
        count = abs(signed_count)
        if 2 * count > self._bounds.int_bytes + 2 * _DIGIT_BITS:
            raise CodecError(f"an int of more than {self._bounds.int_bytes} bytes")
        digits = struct.unpack(f"<{count}H", self._raw(2 * count))
        if any(digit >> _DIGIT_BITS for digit in digits):
            raise CodecError("a digit of an int that is too large")
        # Through its binary digits: shifting them in one by one takes time that grows with the square of the length.
        value = int("".join(f"{digit:015b}" for digit in reversed(digits)) or "0", 2)
        return value if signed_count >= 0 else -value

    def _container(self, kind: type, count: int, depth: int) -> Any:
        # Every item takes at least one byte, so that a claimed count is never larger than what was sent.
        if count > min(self._items_left, len(self._data) - self.position):
            raise CodecError("more items than allowed or sent")
        values = [self.take(depth + 1) for _ in range(count)]
        if kind is list:
            return values
        if kind is tuple:
            return tuple(values)
        self._check_hashes(values)
        made = kind(values)
        if len(made) != count:
            raise CodecError("a set with equal members")
        return made

    def _dict(self, depth: int) -> dict[Any, Any]:
        pairs = []
        while not self._data.startswith(_END_OF_DICT, self.position):
            pairs.append((self.take(depth + 1), self.take(depth + 1)))
        self.position += len(_END_OF_DICT)
        self._check_hashes(key for key, _ in pairs)
        made = dict(pairs)
        if len(made) != len(pairs):
            raise CodecError("a dict with equal keys")
        return made

    def _check_hashes(self, values: Iterable[Any]) -> None:
        # Members that share a hash make a set quadratic to build: a thousand such ints cost more than all else here.
        try:
            hashes = Counter(map(hash, values))
        except TypeError:
            raise CodecError("an unhashable member of a set or key of a dict") from None
        if hashes and max(hashes.values()) > self._bounds.equal_hashes:
            raise CodecError(f"more than {self._bounds.equal_hashes} members with the same hash")
