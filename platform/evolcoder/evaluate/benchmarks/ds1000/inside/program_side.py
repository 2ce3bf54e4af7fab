"""The side of DS-1000 that runs a model's code: the benchmark's context with the solution in it, and nothing of its test.

It is sent into a box as text. Whatever it says afterwards is the program's word: the program may change all of it. It
holds inputs and the solution only; the expected values, the test and the verdict are in the judge's box (``oracle``).
"""

from __future__ import annotations

import os
import pickle
import sys
import zlib
from typing import Any

from evolcoder.evaluate.benchmarks.ds1000.inside.describe import Describer, Description
from evolcoder.evaluate.benchmarks.ds1000.inside.rebuild import Rebuilder, seed_numbers

_MOST_NAMES = 40


class _Session:
    """One program: its names, and the objects of it that the test has heard of."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}

    def other(self, value: Any) -> Description:
        number = self._numbers.setdefault(id(value), len(self._objects))
        if number == len(self._objects):
            self._objects.append(value)
        types = tuple(f"{kind.__module__}.{kind.__qualname__}" for kind in type(value).__mro__[:_MOST_NAMES])
        return ("other", number, types)

    def object(self, number: int, types: tuple[str, ...] = ()) -> Any:
        return self._objects[number]

    def described(self, value: Any) -> Description:
        return Describer(self.other).describe(value)


_session = _Session()


def run(
    code: str, pickled_input: bytes, files: dict[str, bytes], returns_result: bool, seed: int | None
) -> tuple[Description, Any]:
    """Run the code on an input: the description of its ``result``, and the picture it saved, if any.

    Args:
        files: what the context reads, put into the working folder first.
        returns_result: False when the test asks for the program's names one by one.
        seed: for random numbers that the program does not seed itself; None goes on with them.
    """
    if seed is not None:
        seed_numbers(seed)
    for name, data in files.items():
        with open(name, "wb") as file:
            file.write(data)
    environment: dict[str, Any] = {"test_input": pickle.loads(pickled_input)}
    _session.names = environment
    exec(code, environment)
    result = environment["result"] if returns_result else None
    return _session.described(result), _picture()


def ask(what: str, number: int, name: str, arguments: Description) -> Description:
    """What an object of the program answers: the value of one of its names, an attribute, an item, a call, a truth."""
    session = _session
    held: Any = None if what in ("name", "module") else session.object(number)
    if what == "name":
        value = session.names[name]
    elif what == "module":
        value = sys.modules[name]
    elif what == "attribute":
        value = getattr(held, name)
    elif what == "call":
        args, kwargs = Rebuilder(session.object).rebuild(arguments)
        value = held(*args, **kwargs)
    elif what == "item":
        value = held[Rebuilder(session.object).rebuild(arguments)]
    elif what == "contains":
        value = Rebuilder(session.object).rebuild(arguments) in held
    elif what == "list":
        value = list(held)
    elif what == "length":
        value = len(held)
    else:
        value = bool(held)
    return session.described(value)


def _picture() -> Any:
    """The pixels of output.png, packed: (shape, bytes)."""
    if not os.path.exists("output.png"):
        return None
    import numpy
    from PIL import Image  # type: ignore[import-not-found]

    pixels = numpy.asarray(Image.open("output.png"))
    return tuple(pixels.shape), zlib.compress(pixels.tobytes(), 1)
