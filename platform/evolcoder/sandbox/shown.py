"""Short forms of values for messages. Nothing here fails on odd values, and every text can be written as UTF-8."""

from __future__ import annotations

import reprlib

from evolcoder.sandbox.outcomes import Call


class _Brief(reprlib.Repr):
    """An int with too many digits to print must not fail the verdict."""

    def __init__(self) -> None:
        super().__init__()
        self.maxother = self.maxstring = self.maxlong = 80

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if x.bit_length() < 1000 else f"<int of {x.bit_length()} bits>"


_brief = _Brief()


def shown(value: object) -> str:
    """A value in at most some hundred characters."""
    return _brief.repr(value)


def shown_call(call: Call) -> str:
    """A call as it would be written, and what it returned when it did."""
    if call.args is None:
        text = call.name
    else:
        given = ", ".join([*map(shown, call.args), *(f"{name}={shown(value)}" for name, value in call.kwargs.items())])
        text = f"{call.name}({given})"
    return text + (f" returned {shown(call.returned[0])}" if call.returned else "")


def printable(text: str) -> str:
    """The text with lone surrogates escaped: files and tables hold UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
