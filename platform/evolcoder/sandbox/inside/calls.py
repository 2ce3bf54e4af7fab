"""What the program's process is asked, and what it answers: the frames on its channel. Used by worker.py alone.

It decodes what the trusted side sends and encodes what the program says. The calls themselves are made by worker.py, at the
bottom of the stack.
"""

from __future__ import annotations

import marshal
import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter as _clock
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the worker is a script: its neighbours are found by their bare names
    import evolcoder.sandbox.inside.codec as codec
else:
    import codec

FILE = "program.py"
_NO_KEYWORDS: dict[str, Any] = {}
_LENGTH = struct.Struct(">I")
_FLUSH_BYTES = 1 << 16
_FLUSH_SECONDS = 0.005
_MAX_MESSAGE_CHARACTERS = 1000


class Calls:
    """What the trusted side asks of the program, one call at a time, and the replies. It makes no call itself.

    Args:
        stream: to the trusted side.
        module: what the program becomes.
        sources: the module linecache, as the program sees it.
    """

    def __init__(self, stream: socket.socket, reply_bytes: int, module: ModuleType, sources: ModuleType) -> None:
        self._stream, self._module, self._sources = stream, module, sources
        self._file = f"{os.getcwd()}/{FILE}"
        spec: Any = self._module.__spec__
        self._module.__file__ = spec.origin = spec.loader.path = self._file
        self._names = self._module.__dict__
        self._bounds = codec.Bounds(total_bytes=reply_bytes, int_bytes=reply_bytes)
        self._name = ""
        self._many: Iterator[bytes] | None = None
        self._waiting = bytearray()
        self._sent_at = 0.0

    def take(self) -> tuple[Callable[..., Any], Sequence[Any], dict[str, Any]]:
        """The next call to make; what cannot even be called is answered at once."""
        while True:
            try:
                if self._many is not None:
                    for encoded in self._many:
                        return self._function(self._name), marshal.loads(encoded), _NO_KEYWORDS
                    self._send()
                    self._many = None
                (size,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
                kind, *rest = marshal.loads(self._exactly(size))  # the trusted side's own bytes
                if kind == "load":
                    source = rest[0].removeprefix("\ufeff")
                    # The first source is program.py; what is loaded into the same module later goes by another name.
                    file, self._file = self._file, "<loaded later>"
                    # For inspect and tracebacks, which would read it from the file.
                    lines = [f"{line}\n" for line in source.removesuffix("\n").split("\n")]
                    self._sources.cache[file] = len(source), None, lines, file
                    # Not with the flags of this file: its own ``annotations`` would keep a program's from being evaluated.
                    return exec, (compile(source, file, "exec", dont_inherit=True), self._names), {}
                if kind == "evaluate":
                    return eval, (compile(rest[0], "expression", "eval", dont_inherit=True), self._names), {}
                if kind == "call":
                    name, args, kwargs = rest
                    return self._function(name), args, kwargs
                self._name, arguments = rest
                self._many = iter(arguments)
                self._sent_at = _clock()
            except BaseException as error:  # noqa: BLE001 - SyntaxError, MemoryError, and what a program put in our way
                self.raised(error)

    def returned(self, value: Any) -> None:
        """Reply with a value: ``v`` and the value itself, or ``h`` with the digest and the size of one that is too large to be
        sent, where it is one of many. Raises what the value raises when it is looked at.
        """
        encoded = codec.encode_fast(value, self._bounds, digests=self._many is not None)
        if isinstance(encoded, codec.Digest):
            self._reply(b"h" + encoded.sha256 + encoded.size.to_bytes(8, "big"))
        else:
            self._reply(b"v" + encoded)

    def raised(self, error: BaseException) -> None:
        """Reply with ``r`` and what was raised, or ``u`` and why a value cannot be sent. A program may raise anything, here
        too, from the very handler of what it raised.
        """
        try:
            if type(error) is codec.CodecError or type(error) is codec.TooLargeError:
                payload = b"u" + codec.encode(str(error))
            else:
                # No text of a MemoryError: to make one takes memory.
                text = "" if isinstance(error, MemoryError) else str(error)[:_MAX_MESSAGE_CHARACTERS]
                payload = b"r" + codec.encode((str(type(error).__name__)[:100], text), self._bounds)
        except BaseException:  # noqa: BLE001 - an exception that cannot even be described
            payload = b"r" + codec.encode(("Exception", "an exception that cannot be described"))
        self._reply(payload)

    def _function(self, name: str) -> Any:
        try:
            return self._names[name]
        except KeyError:
            raise NameError(f"the program defines no {name}") from None

    def _reply(self, payload: bytes) -> None:
        """Replies to many calls are sent together while they come fast, so that each does not wake up the other side."""
        self._waiting += _LENGTH.pack(len(payload))
        self._waiting += payload
        if self._many is None or len(self._waiting) > _FLUSH_BYTES or _clock() - self._sent_at > _FLUSH_SECONDS:
            self._send()

    def _send(self) -> None:
        self._stream.sendall(self._waiting)
        self._waiting.clear()
        self._sent_at = _clock()

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self._stream.recv(min(size - len(data), 1 << 20))
            if not part:
                os._exit(0)
            data += part
        return bytes(data)
