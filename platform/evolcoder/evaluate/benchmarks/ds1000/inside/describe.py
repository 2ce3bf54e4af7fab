"""Arrays, tables and tensors as plain data: how a DS-1000 program's result leaves its box.

A description is plain data: None, bool, int, float, complex, str and bytes stand for themselves, and everything else is a
tuple ``(tag, ..., number)``, where the number names the object so that ``("again", number)`` can stand for it when it is
met a second time. This runs beside the program, which may change it: ``rebuild`` trusts nothing of what it says. It is
sent into the box as text, needs the standard library alone, and takes a library from ``sys.modules`` when it was imported.

Subclasses of arrays, tables and builtin containers are flattened. Not kept: the order of an array's memory, gradients,
devices, flags and attrs of tables. Arrays with masked values do not cross: numpy's comparisons skip what is masked.
"""

from __future__ import annotations

import datetime
import decimal
import re
import sys
from collections.abc import Callable
from typing import Any

Description = Any

NUMBERS = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248]|c(?:8|16)|[mM]8(?:\[\d{0,6}[A-Za-zμ]{1,7}\])?)")
"""The array types that cross as bytes."""

MASKED = {f"{kind}{bits}" for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)} | {"Float32", "Float64", "boolean"}
TENSORS = {
    "bool": "|b1", "uint8": "|u1", "int8": "|i1", "int16": "<i2", "int32": "<i4", "int64": "<i8", "float16": "<f2",
    "float32": "<f4", "float64": "<f8", "complex64": "<c8", "complex128": "<c16", "bfloat16": "<f4",
}  # fmt: skip
_DEEPEST = 24
_EMPTY: dict[Any, Any] = {}
_VIEWS = (type(_EMPTY.keys()), type(_EMPTY.values()), type(_EMPTY.items()))
_SCALARS: tuple[Callable[[Any], Any], ...] = (bool, int, float, complex, str, bytes, bytearray)
_CONTAINERS: tuple[tuple[str, Any], ...] = (("list", list), ("tuple", tuple), ("set", set), ("frozenset", frozenset))


class Describer:
    """Describes values; ``other`` describes what is of no type that crosses."""

    def __init__(self, other: Callable[[Any], Description]) -> None:
        self._other = other
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []
        self._open: set[int] = set()

    def describe(self, value: Any) -> Description:
        if value is None or type(value) in (bool, int, float, complex, str, bytes):
            return value
        if id(value) in self._numbers:
            return ("again", self._numbers[id(value)])
        if len(self._open) > _DEEPEST or id(value) in self._open:
            return self._other(value)
        before = len(self._kept)
        self._open.add(id(value))
        try:
            made = self._composite(value)
        except Exception:  # noqa: BLE001 - it is of no type that crosses, or its methods raise whatever a program likes
            for forgotten in self._kept[before:]:
                self._numbers.pop(id(forgotten), None)
            return self._other(value)
        finally:
            self._open.discard(id(value))
        return self._numbered(value, made)

    def _numbered(self, value: Any, made: tuple[Any, ...]) -> Description:
        number = self._numbers[id(value)] = len(self._kept)
        self._kept.append(value)  # so that no other object takes its id
        return (*made, number)

    def _all(self, values: Any) -> list[Description]:
        return [self.describe(value) for value in values]

    def _composite(self, value: Any) -> tuple[Any, ...]:
        for module, describe in (
            ("pandas", self._pandas),
            ("numpy", self._numpy),
            ("scipy.sparse", self._sparse),
            ("torch", self._torch),
            ("tensorflow", self._tensorflow),
        ):
            library = sys.modules.get(module)
            made = None if library is None else describe(library, value)
            if made is not None:
                return made
        return self._plain(value)

    def _plain(self, value: Any) -> tuple[Any, ...]:
        for base in _SCALARS:
            if isinstance(value, base):  # type: ignore[arg-type]
                return ("same", bytes(value) if base is bytearray else base(value))
        if isinstance(value, dict):
            return ("dict", [self._all(pair) for pair in dict.items(value)])
        for tag, container in _CONTAINERS:
            if isinstance(value, container):
                return (tag, self._all(container.__iter__(value)))
        if isinstance(value, range):
            return ("range", value.start, value.stop, value.step)
        if isinstance(value, slice):
            return ("slice", self._all((value.start, value.stop, value.step)))
        if isinstance(value, _VIEWS):
            return ("list", self._all(value))
        if isinstance(value, datetime.datetime):
            parts = (value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond)
            return ("datetime", *parts, _zone(value.tzinfo))
        if isinstance(value, datetime.date):
            return ("date", value.year, value.month, value.day)
        if isinstance(value, datetime.time):
            return ("time", value.hour, value.minute, value.second, value.microsecond)
        if isinstance(value, datetime.timedelta):
            return ("timedelta", value.days, value.seconds, value.microseconds)
        if isinstance(value, decimal.Decimal):
            return ("decimal", str(value))
        raise TypeError(type(value).__name__)

    def _numpy(self, np: Any, value: Any) -> tuple[Any, ...] | None:
        if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
            raise TypeError("masked")  # what is masked equals everything
        if isinstance(value, np.ndarray):
            return self._array(np, value)
        if isinstance(value, np.str_ | np.bytes_):
            return ("str_" if isinstance(value, np.str_) else "bytes_", value.item())
        if isinstance(value, np.generic) and NUMBERS.fullmatch(value.dtype.str):
            return ("scalar", value.dtype.str, value.tobytes())
        if isinstance(value, np.dtype) and NUMBERS.fullmatch(value.str):
            return ("dtype", value.str)
        return None

    def _array(self, np: Any, value: Any) -> tuple[Any, ...]:
        dtype, shape, plain = value.dtype, tuple(value.shape), np.asarray(value)
        if dtype.kind == "O":
            return ("objects", shape, self._all(plain.ravel().tolist()))
        if dtype.kind in "US":
            return ("strings", dtype.str, shape, plain.ravel().tolist())
        if not NUMBERS.fullmatch(dtype.str):
            raise TypeError(dtype.str)
        return ("array", dtype.str, shape, plain.tobytes(), isinstance(value, np.matrix))

    def _pandas(self, pd: Any, value: Any) -> tuple[Any, ...] | None:
        np = sys.modules["numpy"]
        if value is pd.NaT or value is pd.NA:
            return ("NaT" if value is pd.NaT else "NA",)
        if isinstance(value, pd.Timestamp):
            return ("Timestamp", value.value, _zone(value.tz))
        if isinstance(value, pd.Timedelta):
            return ("Timedelta", value.value)
        if isinstance(value, pd.Period):
            return ("Period", value.ordinal, value.freqstr)
        if isinstance(value, pd.Interval):
            return ("Interval", *self._all((value.left, value.right)), value.closed)
        if isinstance(value, pd.DataFrame):
            labels = self._all((value.index, value.columns))
            # Many columns of one type go over as one array, others one by one.
            if len({str(dtype) for dtype in value.dtypes}) == 1 < value.shape[1] and isinstance(value.dtypes.iloc[0], np.dtype):
                return ("Block", self.describe(value.to_numpy()), *labels)
            columns = (value.iloc[:, place] for place in range(value.shape[1]))
            return ("DataFrame", [self._values(pd, column) for column in columns], *labels)
        if isinstance(value, pd.Series):
            return ("Series", self._values(pd, value), *self._all((value.index, value.name)))
        if isinstance(value, pd.MultiIndex):
            codes = map(np.asarray, value.codes)
            return ("MultiIndex", *(self._all(parts) for parts in (value.levels, codes, value.names)))
        if isinstance(value, pd.RangeIndex):
            return ("RangeIndex", value.start, value.stop, value.step, self.describe(value.name))
        if isinstance(value, pd.Index):
            frequency = value.freqstr if isinstance(value, pd.DatetimeIndex | pd.TimedeltaIndex) else None
            return ("Index", self._values(pd, value), self.describe(value.name), frequency)
        if isinstance(value, pd.api.extensions.ExtensionArray):
            return self._extension(pd, value)
        return None

    def _values(self, pd: Any, value: Any) -> Description:
        """What a Series or an Index holds: a numpy array, or an array of one of pandas' own kinds."""
        np = sys.modules["numpy"]
        if isinstance(value.dtype, np.dtype):
            return self.describe(np.asarray(value))
        return self._numbered(value.array, self._extension(pd, value.array))

    def _extension(self, pd: Any, array: Any) -> tuple[Any, ...]:
        np, dtype = sys.modules["numpy"], array.dtype
        if isinstance(array, pd.arrays.PandasArray) or isinstance(dtype, np.dtype):
            return self._array(np, np.asarray(array))
        if isinstance(dtype, pd.CategoricalDtype):
            parts = self._all((array.categories, np.asarray(array.codes)))
            return ("categorical", *parts, bool(array.ordered))
        if isinstance(dtype, pd.DatetimeTZDtype):
            return ("datetimes", self.describe(np.asarray(array.asi8)), _zone(dtype.tz))
        if isinstance(dtype, pd.PeriodDtype):
            return ("periods", self.describe(np.asarray(array.asi8)), dtype.freq.freqstr)
        if isinstance(dtype, pd.IntervalDtype):
            return ("intervals", *self._all((array.left, array.right)), array.closed)
        if isinstance(dtype, pd.SparseDtype):
            return ("sparse values", *self._all((np.asarray(array), array.fill_value)))
        if isinstance(dtype, pd.StringDtype):
            return ("string values", self._all(list(array)))
        if str(dtype) in MASKED:
            data = array.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.numpy_dtype.type(0))
            return ("masked values", str(dtype), *self._all((data, np.asarray(array.isna()))))
        raise TypeError(str(dtype))

    def _sparse(self, sparse: Any, value: Any) -> tuple[Any, ...] | None:
        if not sparse.issparse(value):
            return None
        if value.format in ("csr", "csc"):
            parts = [value.data, value.indices, value.indptr]
        elif value.format == "dia":
            parts = [value.data, value.offsets]
        else:
            coordinates = value.tocoo()
            parts = [coordinates.data, coordinates.row, coordinates.col]
        is_array = not isinstance(value, sparse.spmatrix)
        return ("sparse", str(value.format), is_array, tuple(map(int, value.shape)), self._all(parts))

    def _torch(self, torch: Any, value: Any) -> tuple[Any, ...] | None:
        if isinstance(value, torch.Size):
            return ("tuple", list(map(int, value)))
        if not isinstance(value, torch.Tensor):
            return None
        value = value.detach().cpu()
        if value.layout == torch.sparse_coo:
            value = value.coalesce()  # the same tensor; the parts of another have no public name
            return ("sparse tensor", *self._all((value.indices(), value.values())), tuple(map(int, value.shape)))
        name = str(value.dtype).removeprefix("torch.")
        if value.layout != torch.strided or name not in TENSORS:
            raise TypeError(name)
        plain = value.to(torch.float32) if name == "bfloat16" else value
        return ("tensor", name, self.describe(plain.resolve_conj().resolve_neg().numpy()))

    def _tensorflow(self, tf: Any, value: Any) -> tuple[Any, ...] | None:
        if isinstance(value, tf.TensorShape):
            return ("tuple", [None if size is None else int(size) for size in value])
        if not isinstance(value, tf.Tensor | tf.Variable):
            return None
        tag = "tf variable" if isinstance(value, tf.Variable) else "tf tensor"
        return (tag, value.dtype.name, self.describe(sys.modules["numpy"].asarray(value.numpy())))


def _zone(zone: Any) -> Description:
    """A time zone by its name, or by its offset in seconds."""
    if zone is None:
        return None
    name = getattr(zone, "zone", None) or getattr(zone, "key", None)
    return str(name) if isinstance(name, str) else int(zone.utcoffset(None).total_seconds())
