"""Values and calls as short texts for messages. Nothing here fails on odd values, and every text can be written as UTF-8."""

from __future__ import annotations

import reprlib

from evolcoder.sandbox.outcomes import Call

_SHORT_CHARACTERS = 80
_PRINTED_INT_BITS = 1000


class _ShortRepr(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to print an int of more than 4300 digits: that ValueError must not fail the verdict.
        return super().repr_int(x, level) if x.bit_length() < _PRINTED_INT_BITS else f"<int of {x.bit_length()} bits>"


_repr = _ShortRepr()
_repr.maxother = _repr.maxstring = _repr.maxlong = _SHORT_CHARACTERS


def short_repr(value: object) -> str:
    """A value in a hundred characters or so."""
    return _repr.repr(value)


def short_call(call: Call) -> str:
    """A call as it would be written, and what it returned if it did."""
    if call.args is None:
        text = call.name
    else:
        keywords = (f"{name}={short_repr(value)}" for name, value in call.kwargs.items())
        text = f"{call.name}({', '.join([*map(short_repr, call.args), *keywords])})"
    return text + (f" returned {short_repr(call.returned[0])}" if call.returned else "")


def printable(text: str) -> str:
    """The text with lone surrogates escaped: files and tables hold UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
