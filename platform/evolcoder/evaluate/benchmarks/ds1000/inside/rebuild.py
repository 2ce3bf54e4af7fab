"""The values that descriptions describe (see ``describe``), made where a DS-1000 test can use them.

What a program sends is trusted in nothing. Nothing is unpickled, and nothing that a description names is imported or
called: objects of the types listed here are made, by their libraries' own constructors, after a check of what the
libraries' compiled code takes for granted (sizes, codes and indices within range). It is sent into the box of the test as
text, and needs the standard library alone.
"""

from __future__ import annotations

import datetime
import decimal
import math
import random
import re
from collections.abc import Callable, Container
from importlib import import_module
from typing import Any

from evolcoder.evaluate.benchmarks.ds1000.inside.describe import MASKED, NUMBERS, TENSORS, Description

MOST_STRING_BYTES = 64 << 20
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
_FREQUENCY = re.compile(r"-?\d{0,9}[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})?")
_STRINGS = re.compile(r"[<>|=]?[US]\d{1,9}")
_CLOSED = ("left", "right", "both", "neither")
_SPARSE = ("csr", "csc", "coo", "lil", "dok", "dia", "bsr")
_TF_TYPES = (
    *("bool", "string", "half", "float", "double", "complex64", "complex128"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)
_PLAIN = (bool, int, float, complex, str, bytes)
_CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


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
            return self._one(description)
        except Malformed:
            raise
        except Exception as error:  # noqa: BLE001 - what the libraries say of parts that do not fit together
            raise Malformed(f"{type(error).__name__}: {str(error)[:200]}") from None

    def _one(self, description: Description) -> Any:
        if description is None or type(description) in _PLAIN:
            return description
        if type(description) is not tuple or not description:
            raise Malformed("a description without a tag")
        if description[0] == "again":
            return self._made[_integer(description[1])]
        if description[0] == "other":
            return self._other(_integer(description[1]), tuple(map(_text, description[2])))
        number = _integer(description[-1])
        if number in self._made:
            raise Malformed("two descriptions of one object")
        made = self._made[number] = self._builtin(description[:-1])
        return made

    def _all(self, descriptions: Any) -> list[Any]:
        if type(descriptions) is not list:
            raise Malformed("no list of descriptions")
        return [self._one(description) for description in descriptions]

    def _array(self, description: Description, kinds: str) -> Any:
        """A numpy array of one of the kinds."""
        made = self._one(description)
        if not isinstance(made, import_module("numpy").ndarray) or made.dtype.kind not in kinds:
            raise Malformed("no array of this kind")
        return made

    def _index(self, description: Description) -> Any:
        made = self._one(description)
        if not isinstance(made, import_module("pandas").Index):
            raise Malformed("no index")
        return made

    def _values(self, description: Description) -> Any:
        """What a Series or an Index holds."""
        made = self._one(description)
        kinds = import_module("numpy").ndarray, import_module("pandas").api.extensions.ExtensionArray
        if not isinstance(made, kinds) or made.ndim != 1:
            raise Malformed("no values of one dimension")
        return made

    def _builtin(self, described: tuple[Any, ...]) -> Any:
        match described:
            case ("same", value):
                return self._one(value)
            case ("list" | "tuple" | "set" | "frozenset" as kind, items):
                return _CONTAINERS[kind](self._all(items))
            case ("dict", pairs):
                return dict(map(self._all, pairs))
            case ("range", *ends):
                return range(*(_integer(end, _LEAST) for end in ends))
            case ("slice", ends):
                return slice(*self._all(ends))
            case ("datetime", *fields, zone):
                return datetime.datetime(*map(_integer, fields)).replace(tzinfo=_zone(zone))  # type: ignore[arg-type]
            case ("date" | "time" as kind, *fields):
                return getattr(datetime, kind)(*map(_integer, fields))
            case ("timedelta", *fields):
                return datetime.timedelta(*(_integer(field, _LEAST) for field in fields))
            case ("decimal", text) if len(_text(text)) <= 100:
                return decimal.Decimal(text)
        return self._numpy(described)

    def _numpy(self, described: tuple[Any, ...]) -> Any:
        np = import_module("numpy")
        match described:
            case ("array", dtype, shape, data, is_matrix):
                made = _array(dtype, shape, data)
                return made.view(np.matrix) if is_matrix is True and made.ndim == 2 else made
            case ("strings", dtype, shape, values):
                kind = np.dtype(_allowed(dtype, _STRINGS))
                if len(values) != math.prod(_shape(shape)) or max(1, len(values)) * kind.itemsize > MOST_STRING_BYTES:
                    raise Malformed("strings that do not fit their shape")
                if any(type(value) is not (str if kind.kind == "U" else bytes) for value in values):
                    raise Malformed("strings of another kind")
                return np.array(values, dtype=kind).reshape(shape)
            case ("objects", shape, values):
                if len(values) != math.prod(_shape(shape)):
                    raise Malformed("objects that do not fit their shape")
                made = np.empty(len(values), dtype=object)
                # One by one: given all at once, numpy would look into the objects for more dimensions.
                for place, value in enumerate(self._all(values)):
                    made[place] = value
                return made.reshape(shape)
            case ("scalar", dtype, data):
                return _array(dtype, (), data)[()]
            case ("str_", text):
                return np.str_(_text(text))
            case ("bytes_", data):
                return np.bytes_(self._one(data))
            case ("dtype", name):
                return np.dtype(_allowed(name, NUMBERS))
        return self._tensor(described)

    def _tensor(self, described: tuple[Any, ...]) -> Any:
        match described:
            case ("sparse", name, is_array, shape, [data, *places]):
                return self._sparse(_allowed(name, _SPARSE), "array" if is_array is True else "matrix", shape, data, places)
            case ("tensor", name, values):
                torch, held = import_module("torch"), self._one(values)
                if held.dtype != import_module("numpy").dtype(TENSORS[_allowed(name, TENSORS)]):
                    raise Malformed("a tensor of another type")
                return torch.from_numpy(held).to(getattr(torch, name))
            case ("sparse tensor", indices, values, shape):
                make = import_module("torch").sparse_coo_tensor
                return make(self._one(indices), self._one(values), _shape(shape), check_invariants=True).coalesce()
            case (("tf tensor" | "tf variable") as tag, name, values):
                tf = import_module("tensorflow")
                kind = tf.as_dtype(_allowed(name, {tf.as_dtype(known).name for known in _TF_TYPES}))
                made = tf.constant(self._array(values, "biufcOS"), dtype=kind)
                return tf.Variable(made) if tag == "tf variable" else made
        return self._pandas(described)

    def _sparse(self, name: str, suffix: str, shape: Any, data: Any, places: list[Any]) -> Any:
        """A matrix of scipy's. Its compiled code takes indices for granted."""
        sparse, sizes = import_module("scipy.sparse"), _shape(shape, 2)
        held = self._array(data, "biufc")
        where = [self._array(place, "iu") for place in places]
        if name in ("csr", "csc"):
            indices, starts = where
            made = getattr(sparse, f"{name}_{suffix}")((held, indices, starts), shape=sizes)
            made.check_format(full_check=True)
            return made
        if name == "dia":
            return getattr(sparse, f"dia_{suffix}")((held, where[0]), shape=sizes)
        rows, columns = where
        return getattr(sparse, f"coo_{suffix}")((held, (rows, columns)), shape=sizes).asformat(name)

    def _pandas(self, described: tuple[Any, ...]) -> Any:
        pd = import_module("pandas")
        match described:
            case ("NaT" | "NA" as name,):
                return getattr(pd, name)
            case ("Timestamp", value, zone):
                moment = pd.Timestamp(_integer(value, _LEAST))
                return moment if zone is None else moment.tz_localize("UTC").tz_convert(_zone(zone))
            case ("Timedelta", value):
                return pd.Timedelta(_integer(value, _LEAST))
            case ("Period", ordinal, frequency):
                return pd.Period(ordinal=_integer(ordinal, _LEAST), freq=_allowed(frequency, _FREQUENCY))
            case ("Interval", left, right, closed):
                return pd.Interval(self._one(left), self._one(right), _allowed(closed, _CLOSED))
            case ("Series", values, index, name):
                held = self._values(values)
                return pd.Series(held, index=self._index(index), name=self._one(name), dtype=held.dtype)
            case ("DataFrame", columns, index, labels):
                held = dict(enumerate(map(self._values, columns)))
                made = pd.DataFrame(held, index=self._index(index), columns=range(len(held)))
                made.columns = self._index(labels)
                return made
            case ("Block", values, index, labels):
                held = self._array(values, "biufcmMO")
                return pd.DataFrame(held, index=self._index(index), columns=self._index(labels))
            case ("Index", values, name, frequency):
                held, label = self._values(values), self._one(name)
                if isinstance(held.dtype, pd.DatetimeTZDtype) or held.dtype.kind in "mM":
                    index_class = pd.TimedeltaIndex if held.dtype.kind == "m" else pd.DatetimeIndex
                    return index_class(held, name=label, freq=None if frequency is None else _allowed(frequency, _FREQUENCY))
                return pd.Index(held, name=label, dtype=object if held.dtype == object else None)
            case ("RangeIndex", start, stop, step, name):
                ends = (_integer(end, _LEAST) for end in (start, stop, step))
                return pd.RangeIndex(*ends, name=self._one(name))
            case ("MultiIndex", levels, codes, names):
                held = [self._array(code, "i") for code in codes]
                return pd.MultiIndex(list(map(self._index, levels)), held, names=self._all(names), verify_integrity=True)
        return self._pandas_array(pd, described)

    def _pandas_array(self, pd: Any, described: tuple[Any, ...]) -> Any:
        match described:
            case ("categorical", categories, codes, ordered):
                return pd.Categorical.from_codes(self._array(codes, "i"), self._index(categories), ordered=ordered is True)
            case ("datetimes", values, zone):
                moments = pd.DatetimeIndex(self._array(values, "i").view("M8[ns]"))
                return moments.tz_localize("UTC").tz_convert(_zone(zone)).array
            case ("periods", values, frequency):
                return pd.arrays.PeriodArray(self._array(values, "i"), freq=_allowed(frequency, _FREQUENCY))
            case ("intervals", left, right, closed):
                ends = self._index(left), self._index(right)
                return pd.arrays.IntervalArray.from_arrays(*ends, _allowed(closed, _CLOSED))
            case ("sparse values", values, fill):
                return pd.arrays.SparseArray(self._array(values, "biufO"), fill_value=self._one(fill))
            case ("string values", values):
                return pd.array(self._all(values), dtype="string")
            case ("masked values", dtype, data, mask):
                made = pd.array(self._array(data, "biuf"), dtype=_allowed(dtype, MASKED))
                made[self._array(mask, "b")] = pd.NA
                return made
        raise Malformed(f"nothing that is known: {str(described[:1])[:50]}")


def seed_numbers(seed: int) -> None:
    """Start the generators that a test or a program may draw from without seeding them, so that verdicts repeat."""
    random.seed(seed)
    import_module("numpy").random.seed(seed)


_LEAST = 1 - (1 << 63)


def _integer(number: Any, least: int = 0) -> int:
    if type(number) is not int or not least <= number <= -_LEAST:
        raise Malformed("no integer that may stand here")
    return number


def _text(text: Any) -> str:
    if type(text) is not str:
        raise Malformed("no text")
    return text


def _allowed(text: Any, allowed: re.Pattern[str] | Container[str]) -> str:
    """A text that matches the pattern, or is one of those that are named."""
    if not (allowed.fullmatch(_text(text)) if isinstance(allowed, re.Pattern) else _text(text) in allowed):
        raise Malformed(f"{text[:50]!r} cannot stand here")
    return str(text)


def _shape(shape: Any, dimensions: int = 32) -> tuple[int, ...]:
    if type(shape) is not tuple or len(shape) > dimensions:
        raise Malformed("no shape")
    return tuple(map(_integer, shape))


def _zone(zone: Any) -> Any:
    if zone is None:
        return None
    if type(zone) is int:
        return datetime.timezone(datetime.timedelta(seconds=zone))
    return import_module("pytz").timezone(_allowed(zone, _ZONE))


def _array(dtype: Any, shape: Any, data: Any) -> Any:
    """A numpy array of numbers."""
    np = import_module("numpy")
    kind = np.dtype(_allowed(dtype, NUMBERS))
    if type(data) is not bytes or math.prod(_shape(shape)) * kind.itemsize != len(data):
        raise Malformed("an array whose bytes are not those of its shape")
    if kind.kind == "b":  # a byte beside 0 and 1 would be a truth that compares in its own way
        return (np.frombuffer(data, np.uint8) != 0).reshape(shape)
    return np.frombuffer(data, kind).copy().reshape(shape)
