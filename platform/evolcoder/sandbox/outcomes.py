"""What a program says to a call, and the ways in which it, or its box, fails.

A program's own exceptions arrive as ``ProgramRaised``, which a test may catch as it would catch the original; all other
faults end the program, pass through ``except Exception``, and stay in ``Program.fault``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from evolcoder.sandbox.inside import codec


class ProgramRaised(Exception):  # noqa: N818 - not an error of ours: what the program raised
    """The program raised. ``kind`` is the name of the exception's type; both are the program's word."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}" if text else kind)
        self.kind = kind


class ProgramFault(BaseException):  # a test body's `except Exception` must not swallow it
    """The program cannot be used any more, and that is its own doing."""


class ProgramTimeout(ProgramFault):
    """It used up its CPU time, or the wall time that is the backstop."""


class ProgramEnded(ProgramFault):
    """It ended or closed its channel before it was asked to."""


class BadReply(ProgramFault):
    """It sent what is no reply: too large, malformed, out of order."""


class BoxFault(Exception):  # noqa: N818 - the box ends a run with it; SandboxError is for the user
    """The box failed, not the program: nothing was learned about the program."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the program, for messages. ``returned`` is empty until it returned. ``args`` is None for an expression."""

    name: str
    args: tuple[Any, ...] | None
    kwargs: dict[str, Any] = field(default_factory=dict)
    returned: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class CallReply:
    """What a program said to one call, in its own bytes: nothing is decoded before it is asked for.

    ``payload`` is ``v`` and an encoded value, ``h`` and the digest and size of a value too large to be sent, ``u`` and why
    a value could not be sent, or ``r`` and what was raised.
    """

    payload: bytes
    bounds: codec.Bounds

    def value(self) -> Any:
        """The value that was returned.

        Raises:
            ProgramRaised: the program raised instead.
            BadReply: the value is too large, or the bytes are no value within bounds.
        """
        kind, data = self.payload[:1], self.payload[1:]
        if kind == b"h":
            raise BadReply(f"its result cannot be taken over: it takes {int.from_bytes(data[32:40], 'big')} bytes")
        try:
            said = codec.decode(data, self.bounds)
        except codec.CodecError as error:
            raise BadReply(f"its reply cannot be decoded: {error}") from None
        if kind == b"v":
            return said
        match kind, said:
            case b"r", (str() as name, str() as text):
                raise ProgramRaised(name, text)
            case b"u", str():
                raise BadReply(f"its result cannot be taken over: {said}")
        raise BadReply("its reply is not of the form that was asked for")

    @property
    def returned(self) -> bool:
        """Whether it says that the call returned."""
        return self.payload[:1] in (b"v", b"h")
