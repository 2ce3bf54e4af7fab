"""The values that descriptions describe (see ``describe``), made where a DS-1000 test can use them.

What a program sends is trusted in nothing. Nothing is unpickled, and nothing that a description names is imported or
called: objects of the types listed here are made, by their libraries' own constructors, after a check of what the
libraries' compiled code takes for granted (sizes, codes and indices within range). It is sent into the box of the test as
text, and needs the standard library alone.
"""

from __future__ import annotations

import datetime
import decimal
import importlib
import math
import random
import re
from collections.abc import Callable
from typing import Any

from evolcoder.evaluate.benchmarks.ds1000.inside.describe import MASKED, NUMBERS, TENSORS, Description

MOST_STRING_BYTES = 64 << 20
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
_FREQUENCY = re.compile(r"-?\d{0,9}[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})?")
_STRINGS = re.compile(r"[<>|=]?[US]\d{1,9}")
_CLOSED = ("left", "right", "both", "neither")
_PLAIN = (bool, int, float, complex, str, bytes)


class Malformed(Exception):  # noqa: N818 - said of a description
    """A description that describes nothing that may cross."""


class Rebuilder:
    """Makes values; ``other`` makes what stands for an object of another kind, from its number and its types' names."""

    def __init__(self, other: Callable[[int, tuple[str, ...]], Any]) -> None:
        self._other = other
        self._made: dict[int, Any] = {}

    def rebuild(self, description: Description) -> Any:
        """The value.

        Raises:
            Malformed: and nothing else.
        """
        try:
            return self.one(description)
        except Malformed:
            raise
        except Exception as error:  # noqa: BLE001 - what the libraries say of parts that do not fit together
            raise Malformed(f"{type(error).__name__}: {str(error)[:200]}") from None

    def one(self, description: Description) -> Any:
        if description is None or type(description) in _PLAIN:
            return description
        if type(description) is not tuple or not description:
            raise Malformed("a description without a tag")
        if description[0] == "again":
            return self._made[_natural(description[1])]
        if description[0] == "other":
            return self._other(_natural(description[1]), tuple(map(_text, description[2])))
        tag, *parts, number = description
        if tag not in _MAKERS:
            raise Malformed(f"an unknown tag {str(tag)[:50]}")
        if number in self._made:
            raise Malformed("two descriptions of one object")
        made = self._made[_natural(number)] = _MAKERS[tag](self, *parts)
        return made

    def all(self, descriptions: Any) -> list[Any]:
        if type(descriptions) is not list:
            raise Malformed("no list of descriptions")
        return [self.one(description) for description in descriptions]

    def array(self, description: Description, kinds: str) -> Any:
        """A numpy array of one of the kinds."""
        made = self.one(description)
        if not isinstance(made, _np().ndarray) or made.dtype.kind not in kinds:
            raise Malformed("no array of this kind")
        return made

    def index(self, description: Description) -> Any:
        made = self.one(description)
        if not isinstance(made, _pd().Index):
            raise Malformed("no index")
        return made

    def values(self, description: Description) -> Any:
        """What a Series or an Index holds."""
        made = self.one(description)
        if not isinstance(made, _np().ndarray | _pd().api.extensions.ExtensionArray) or made.ndim != 1:
            raise Malformed("no values of one dimension")
        return made


def seed_numbers(seed: int) -> None:
    """Start the generators that a test or a program may draw from without seeding them, so that verdicts repeat."""
    random.seed(seed)
    _np().random.seed(seed)


def _library(name: str) -> Any:
    """One of the libraries that this module names itself."""
    return importlib.import_module(name)


def _np() -> Any:
    return _library("numpy")


def _pd() -> Any:
    return _library("pandas")


def _natural(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise Malformed("no natural number")
    return number


def _text(text: Any) -> str:
    if type(text) is not str:
        raise Malformed("no text")
    return text


def _matching(pattern: re.Pattern[str], text: Any) -> str:
    if pattern.fullmatch(_text(text)) is None:
        raise Malformed(f"{text[:50]!r} cannot stand here")
    return str(text)


def _one_of(text: Any, allowed: Any) -> str:
    if _text(text) not in allowed:
        raise Malformed(f"{text[:50]!r} cannot stand here")
    return str(text)


def _shape(shape: Any, dimensions: int = 32) -> tuple[int, ...]:
    if type(shape) is not tuple or len(shape) > dimensions:
        raise Malformed("no shape")
    return tuple(map(_natural, shape))


def _zone(zone: Any) -> Any:
    if zone is None:
        return None
    if type(zone) is int:
        return datetime.timezone(datetime.timedelta(seconds=zone))
    return _library("pytz").timezone(_matching(_ZONE, zone))


def _dict(make: Rebuilder, pairs: Any) -> dict[Any, Any]:
    made = {}
    for pair in pairs:
        key, value = make.all(pair)
        made[key] = value
    return made


def _datetime(make: Rebuilder, *parts: Any) -> datetime.datetime:
    *fields, zone = parts
    made: datetime.datetime = _plain_time(datetime.datetime, *fields)
    return made.replace(tzinfo=_zone(zone))


def _plain_time(kind: Any, *fields: Any) -> Any:
    return kind(*map(_natural, fields))


def _decimal(make: Rebuilder, text: Any) -> decimal.Decimal:
    if len(_text(text)) > 100:
        raise Malformed("a decimal number of too many digits")
    return decimal.Decimal(text)


def _array(make: Rebuilder, dtype: Any, shape: Any, data: Any, is_matrix: Any) -> Any:
    np = _np()
    kind, sizes = np.dtype(_matching(NUMBERS, dtype)), _shape(shape)
    if type(data) is not bytes or math.prod(sizes) * kind.itemsize != len(data):
        raise Malformed("an array whose bytes are not those of its shape")
    if kind.kind == "b":  # a byte beside 0 and 1 would be a truth that compares in its own way
        made = (np.frombuffer(data, np.uint8) != 0).reshape(sizes)
    else:
        made = np.frombuffer(data, kind).copy().reshape(sizes)
    return made.view(np.matrix) if is_matrix is True and made.ndim == 2 else made


def _strings(make: Rebuilder, dtype: Any, shape: Any, values: Any) -> Any:
    np, sizes = _np(), _shape(shape)
    kind = np.dtype(_matching(_STRINGS, dtype))
    if math.prod(sizes) != len(values) or max(1, len(values)) * kind.itemsize > MOST_STRING_BYTES:
        raise Malformed("strings that do not fit their shape")
    if any(type(value) is not (str if kind.kind == "U" else bytes) for value in values):
        raise Malformed("strings of another kind")
    return np.array(values, dtype=kind).reshape(sizes)


def _objects(make: Rebuilder, shape: Any, values: Any) -> Any:
    made, sizes = _np().empty(len(values), dtype=object), _shape(shape)
    if math.prod(sizes) != len(values):
        raise Malformed("objects that do not fit their shape")
    for place, value in enumerate(make.all(values)):
        made[place] = value
    return made.reshape(sizes)


def _scalar(make: Rebuilder, dtype: Any, data: Any) -> Any:
    return _array(make, dtype, (), data, False)[()]


def _timestamp(make: Rebuilder, value: Any, zone: Any) -> Any:
    made = _pd().Timestamp(_int(value))
    return made if zone is None else made.tz_localize("UTC").tz_convert(_zone(zone))


def _int(number: Any) -> int:
    if type(number) is not int or abs(number) >= 1 << 63:
        raise Malformed("no integer of 64 bits")
    return number


def _interval(make: Rebuilder, left: Any, right: Any, closed: Any) -> Any:
    return _pd().Interval(make.one(left), make.one(right), _one_of(closed, _CLOSED))


def _series(make: Rebuilder, values: Any, index: Any, name: Any) -> Any:
    made, labels = make.values(values), make.index(index)
    return _pd().Series(made, index=labels, name=make.one(name), dtype=made.dtype)


def _frame(make: Rebuilder, columns: Any, index: Any, labels: Any) -> Any:
    held = dict(enumerate(make.values(column) for column in columns))
    made = _pd().DataFrame(held, index=make.index(index), columns=range(len(held)))
    made.columns = make.index(labels)
    return made


def _block(make: Rebuilder, values: Any, index: Any, labels: Any) -> Any:
    held = make.array(values, "biufcmMO")
    return _pd().DataFrame(held, index=make.index(index), columns=make.index(labels))


def _index(make: Rebuilder, values: Any, name: Any, frequency: Any) -> Any:
    pd, held, label = _pd(), make.values(values), make.one(name)
    if isinstance(held.dtype, pd.DatetimeTZDtype) or held.dtype.kind in "mM":
        index_class = pd.TimedeltaIndex if held.dtype.kind == "m" else pd.DatetimeIndex
        return index_class(held, name=label, freq=None if frequency is None else _matching(_FREQUENCY, frequency))
    return pd.Index(held, name=label, dtype=object if held.dtype == object else None)


def _range_index(make: Rebuilder, start: Any, stop: Any, step: Any, name: Any) -> Any:
    return _pd().RangeIndex(_int(start), _int(stop), _int(step), name=make.one(name))


def _multi_index(make: Rebuilder, levels: Any, codes: Any, names: Any) -> Any:
    held = [make.array(code, "i") for code in codes]
    return _pd().MultiIndex([make.index(level) for level in levels], held, names=make.all(names), verify_integrity=True)


def _categorical(make: Rebuilder, categories: Any, codes: Any, ordered: Any) -> Any:
    return _pd().Categorical.from_codes(make.array(codes, "i"), make.index(categories), ordered=ordered is True)


def _datetimes(make: Rebuilder, values: Any, zone: Any) -> Any:
    moments = _pd().DatetimeIndex(make.array(values, "i").view("M8[ns]"))
    return moments.tz_localize("UTC").tz_convert(_zone(zone)).array


def _periods(make: Rebuilder, values: Any, frequency: Any) -> Any:
    return _pd().arrays.PeriodArray(make.array(values, "i"), freq=_matching(_FREQUENCY, frequency))


def _intervals(make: Rebuilder, left: Any, right: Any, closed: Any) -> Any:
    return _pd().arrays.IntervalArray.from_arrays(make.index(left), make.index(right), _one_of(closed, _CLOSED))


def _sparse_values(make: Rebuilder, values: Any, fill: Any) -> Any:
    return _pd().arrays.SparseArray(make.array(values, "biufO"), fill_value=make.one(fill))


def _string_values(make: Rebuilder, values: Any) -> Any:
    return _pd().array(make.all(values), dtype="string")


def _masked_values(make: Rebuilder, dtype: Any, data: Any, mask: Any) -> Any:
    kind = _one_of(dtype, MASKED)
    made = _pd().array(make.array(data, "biuf"), dtype=kind)
    made[make.array(mask, "b")] = _pd().NA
    return made


def _sparse(make: Rebuilder, kind: Any, is_array: Any, shape: Any, parts: Any) -> Any:
    sparse, sizes = _library("scipy.sparse"), _shape(shape, 2)
    data, *places = (make.array(part, "biufc") for part in parts)
    if any(place.dtype.kind not in "iu" for place in places):
        raise Malformed("places that are no integers")
    name = _one_of(kind, ("csr", "csc", "coo", "lil", "dok", "dia", "bsr"))
    suffix = "array" if is_array is True else "matrix"
    if name in ("csr", "csc"):
        indices, starts = places
        made = getattr(sparse, f"{name}_{suffix}")((data, indices, starts), shape=sizes)
        made.check_format(full_check=True)
        return made
    if name == "dia":
        return getattr(sparse, f"dia_{suffix}")((data, places[0]), shape=sizes)
    rows, columns = places
    return getattr(sparse, f"coo_{suffix}")((data, (rows, columns)), shape=sizes).asformat(name)


def _tensor(make: Rebuilder, name: Any, values: Any) -> Any:
    torch = _library("torch")
    kind = _one_of(name, TENSORS)
    held = make.one(values)
    if held.dtype != _np().dtype(TENSORS[kind]):
        raise Malformed("a tensor of another type")
    return torch.from_numpy(held).to(getattr(torch, kind))


def _sparse_tensor(make: Rebuilder, indices: Any, values: Any, shape: Any, is_coalesced: Any) -> Any:
    torch = _library("torch")
    made = torch.sparse_coo_tensor(make.one(indices), make.one(values), _shape(shape), check_invariants=True)
    return made.coalesce() if is_coalesced is True else made


def _tf(make: Rebuilder, dtype: Any, values: Any) -> Any:
    tf = _library("tensorflow")
    return tf.constant(make.array(values, "biufcOS"), dtype=tf.as_dtype(_one_of(dtype, _tf_names())))


def _tf_names() -> set[str]:
    tf = _library("tensorflow")
    kinds = ("bool", "string", "half", "float", "double", "complex64", "complex128")
    wholes = (f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
    return {tf.as_dtype(name).name for name in (*kinds, *wholes)}


_MAKERS: dict[str, Callable[..., Any]] = {
    "same": lambda make, value: make.one(value),
    "list": lambda make, items: make.all(items),
    "tuple": lambda make, items: tuple(make.all(items)),
    "set": lambda make, items: set(make.all(items)),
    "frozenset": lambda make, items: frozenset(make.all(items)),
    "dict": _dict,
    "range": lambda make, *ends: range(*map(_int, ends)),
    "slice": lambda make, ends: slice(*make.all(ends)),
    "datetime": _datetime,
    "date": lambda make, *parts: _plain_time(datetime.date, *parts),
    "time": lambda make, *parts: _plain_time(datetime.time, *parts),
    "timedelta": lambda make, *parts: datetime.timedelta(*map(_int, parts)),
    "decimal": _decimal,
    "array": _array,
    "strings": _strings,
    "objects": _objects,
    "scalar": _scalar,
    "str_": lambda make, value: _np().str_(_text(value)),
    "bytes_": lambda make, value: _np().bytes_(make.one(value)),
    "dtype": lambda make, text: _np().dtype(_matching(NUMBERS, text)),
    "NaT": lambda make: _pd().NaT,
    "NA": lambda make: _pd().NA,
    "Timestamp": _timestamp,
    "Timedelta": lambda make, value: _pd().Timedelta(_int(value)),
    "Period": lambda make, ordinal, frequency: _pd().Period(ordinal=_int(ordinal), freq=_matching(_FREQUENCY, frequency)),
    "Interval": _interval,
    "Series": _series,
    "DataFrame": _frame,
    "Block": _block,
    "Index": _index,
    "RangeIndex": _range_index,
    "MultiIndex": _multi_index,
    "categorical": _categorical,
    "datetimes": _datetimes,
    "periods": _periods,
    "intervals": _intervals,
    "sparse values": _sparse_values,
    "string values": _string_values,
    "masked values": _masked_values,
    "sparse": _sparse,
    "tensor": _tensor,
    "sparse tensor": _sparse_tensor,
    "tf tensor": _tf,
    "tf variable": lambda make, dtype, values: _library("tensorflow").Variable(_tf(make, dtype, values)),
}
