"""The side of DS-1000 that runs a model's code: the benchmark's context with the solution in it, and nothing of its test.

It is sent into a box as text. Whatever it says afterwards is the program's word: the program may change all of it. It
holds inputs and the solution only; the expected values, the test and the verdict are in the judge's box (``test_side``).
"""

from __future__ import annotations

import os
import pickle
import sys
import zlib
from pathlib import Path
from typing import Any

from evolcoder.evaluate.benchmarks.ds1000.inside.describe import Describer, Description
from evolcoder.evaluate.benchmarks.ds1000.inside.rebuild import Rebuilder, seed_numbers

_MOST_NAMES = 40


_names: dict[str, Any] = {}
"""The program's."""
_objects: list[Any] = []
"""Those of the program's objects that the test has heard of, by their number."""
_numbers: dict[int, int] = {}


def run(
    code: str, pickled_input: bytes, files: dict[str, bytes], returns_result: bool, seed: int | None
) -> tuple[Description, Any]:
    """Run the code on an input: the description of its ``result``, and the pixels of the picture it saved, if any, packed.

    Args:
        files: what the context reads, put into the working folder first.
        returns_result: False when the test asks for the program's names one by one.
        seed: for random numbers that the program does not seed itself; None goes on with them.
    """
    global _names
    if seed is not None:
        seed_numbers(seed)
    for name, data in files.items():
        Path(name).write_bytes(data)
    _names = {"test_input": pickle.loads(pickled_input)}
    exec(compile(code, "<string>", "exec", dont_inherit=True), _names)  # not with this file's own flags
    described = Describer(_other).describe(_names["result"] if returns_result else None)
    if not os.path.exists("output.png"):
        return described, None
    import numpy
    from PIL import Image  # type: ignore[import-not-found]

    pixels = numpy.asarray(Image.open("output.png"))
    return described, (tuple(pixels.shape), zlib.compress(pixels.tobytes(), 1))


def ask(what: str, number: int, name: str, arguments: Description) -> Description:
    """What an object of the program answers: the value of one of its names, an attribute, an item, a call, a truth."""
    held: Any = None if what in ("name", "module") else _objects[number]
    given = Rebuilder(lambda number, kinds: _objects[number]).rebuild(arguments)
    match what:
        case "name":
            value = _names[name]
        case "module":
            value = sys.modules[name]
        case "attribute":
            value = getattr(held, name)
        case "call":
            args, kwargs = given
            value = held(*args, **kwargs)
        case "item":
            value = held[given]
        case "contains":
            value = given in held
        case "list":
            value = list(held)
        case "length":
            value = len(held)
        case _:
            value = bool(held)
    return Describer(_other).describe(value)


def _other(value: Any) -> Description:
    number = _numbers.setdefault(id(value), len(_objects))
    if number == len(_objects):
        _objects.append(value)
    types = tuple(f"{kind.__module__}.{kind.__qualname__}" for kind in type(value).__mro__[:_MOST_NAMES])
    return ("other", number, types)
