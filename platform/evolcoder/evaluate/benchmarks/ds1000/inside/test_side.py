"""The side of DS-1000 that judges: the benchmark's own test, in a box of its own, where no model's code ever runs.

The test's code is run as the benchmark has it, ``test_execution(solution)`` and then ``test_string(solution)``, with one
change: its ``exec(code, test_env)`` asks for the code to be run elsewhere, and takes over what came of it. So the expected
values, the reference and the verdict are in a process that the program cannot reach, and that only receives descriptions
(see ``rebuild``). The test runs in a thread of its own, which waits while the other side answers.

Two things are stricter than in the benchmark: an empty result is never equal to an expectation that is not empty, though
numpy's comparisons let it pass, and ``zip`` in a test wants both sides equally long.

Three kinds of test need more than the value of ``result``:
- Matplotlib's look at the figure that the program left: there ``plt`` is a proxy whose every use is asked of the
  program's process, and the picture comes over as pixels. What is compared, is compared here.
- Four contexts end in assertions about what the solution defined or wrote; these lines run here, on proxies.
- Four results are optimizers of torch, which arrive as proxies.
"""

from __future__ import annotations

import functools
import io
import math
import pickle
import queue
import reprlib
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from evolcoder.evaluate.benchmarks.ds1000.inside.describe import Describer, Description
from evolcoder.evaluate.benchmarks.ds1000.inside.rebuild import Malformed, Rebuilder, seed_numbers

_STACK_BYTES = 256 << 20
_MOST_PICTURE_BYTES = 256 << 20
_MOST_TEXT = 600
_MOST_SHOWN = 160
Message = tuple[Any, ...]


class Uncrossed:
    """Stands for an object that cannot cross. Equal to nothing, and neither true nor false."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise TypeError(f"the program's {self.kind} cannot cross")

    def __repr__(self) -> str:
        return f"<a {self.kind} of the program>"


class Refused(Exception):  # noqa: N818 - the program's doing
    """What the program sent cannot be used."""


class Broken(BaseException):
    """The test itself cannot be run here; nothing was learned about the program."""


class Proxy:
    """Stands for one object of the program. Each use is asked of the program; two are equal when they are one object."""

    __slots__ = ("_ask", "_kind", "_number")

    def __init__(self, ask: Callable[..., Any], number: int, kind: type | None) -> None:
        self._ask, self._number, self._kind = ask, number, kind

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # so that isinstance sees a Rectangle in what stands for one
        return Proxy if self._kind is None else self._kind

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what libraries look for in an object, to treat it as something else
            raise AttributeError(name)
        return self._ask("attribute", self._number, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("call", self._number, "", (args, kwargs))

    def __getitem__(self, key: Any) -> Any:
        return self._ask("item", self._number, "", key)

    def __contains__(self, key: Any) -> bool:
        return self._ask("contains", self._number, "", key) is True

    def __iter__(self) -> Iterator[Any]:
        return iter(self._ask("list", self._number))

    def __len__(self) -> int:
        length = self._ask("length", self._number)
        return length if type(length) is int else 0

    def __bool__(self) -> bool:
        return self._ask("truth", self._number) is True

    def __eq__(self, other: object) -> bool:
        return type(other) is Proxy and other._number == self._number

    def __hash__(self) -> int:
        return self._number

    def __repr__(self) -> str:
        return f"<object {self._number} of the program>"


class _TestRun:
    """One run of one test."""

    def __init__(self, context: str, solution: str, proxied: bool, tail: bool) -> None:
        self.messages: queue.Queue[Message] = queue.Queue()
        self.answers: queue.Queue[tuple[Any, ...]] = queue.Queue()
        self._context, self._solution, self._proxied, self._tail = context, solution, proxied, tail
        self._names: dict[str, Any] = {"__name__": "ds1000"}
        self._own: dict[str, Any] = {}
        self._after = ""
        self._ran = False
        # Both sides come from one warm process. Drawing the same numbers, a wrong figure of random data would look right.
        self._next_seed: int | None = zlib.crc32(context.encode()) ^ 1

    def run(self) -> None:
        """The whole test; ends with a message ``("done", status, detail)``."""
        try:
            seed_numbers(zlib.crc32(self._context.encode()))
            exec(compile(self._context, "test", "exec", dont_inherit=True), self._names)
            self._replace_names()
            self._names["test_execution"](self._solution)
            if "test_string" in self._names:
                self._names["test_string"](self._solution)
        except BaseException as error:  # noqa: BLE001 - also SystemExit: it is the test's outcome whatever it is
            broken = isinstance(error, Broken) or not self._ran
            self.messages.put(("done", "broken" if broken else "failed", _said(error)))
        else:
            self.messages.put(("done", "passed" if self._ran else "broken", ""))

    def _replace_names(self) -> None:
        names = self._names
        generate = names["generate_test_case"]

        def generate_test_case(number: int) -> Any:
            names.update(self._own)  # the expected picture is drawn here
            self._ran = False
            made = generate(number)
            self._ran = True
            return made

        names["generate_test_case"] = generate_test_case
        names["exec"] = self._run_elsewhere
        names["exec_test"] = functools.partial(_test_watched, names["exec_test"])
        if not self._proxied:
            names["zip"] = functools.partial(zip, strict=True)
        if self._tail:
            before, _, self._after = names["exec_context"].partition("[insert]")
            names["exec_context"] = f"{before}[insert]\n"
        if self._proxied and "plt" in names:
            self._own = {name: names[name] for name in ("plt", "Image")}

    def _run_elsewhere(self, code: str, environment: dict[str, Any]) -> None:
        """In place of ``exec``: the other side runs the code, and its result is put where the test looks for it."""
        context = self._names["exec_context"]
        files = {path.name: path.read_bytes() for path in Path().iterdir() if path.name in context and path.is_file()}
        pickled = io.BytesIO()
        try:
            _Pickler(pickled).dump(environment["test_input"])
        except Exception as error:
            raise Broken(f"the test's input cannot be handed over: {error}") from error
        described, picture = self._asked(("run", code, pickled.getvalue(), files, not self._tail, self._next_seed))
        self._next_seed = None
        if self._tail:
            names = _ProgramNames()
            exec(compile(self._after, "context", "exec", dont_inherit=True), {}, names)
            environment["result"] = names["result"]
            return
        environment["result"] = self._rebuilt(described)
        if self._own:
            # PIL's Image for the test: the program's picture comes from the program, the expected one from here.
            images = SimpleNamespace(
                open=lambda name: _pixels(picture) if name == "output.png" else self._own["Image"].open(name)
            )
            self._names.update(plt=self.ask("module", 0, "matplotlib.pyplot"), Image=images)

    def ask(self, what: str, number: int, name: str = "", argument: Any = None) -> Any:
        arguments = Describer(_described_proxy).describe(argument)
        return self._rebuilt(self._asked(("ask", what, number, name, arguments)))

    def _asked(self, message: Message) -> Any:
        self.messages.put(message)
        kind, *said = self.answers.get()
        if kind == "value":
            return said[0]
        name, text = said
        if name in ("AttributeError", "KeyError"):
            raise {"AttributeError": AttributeError, "KeyError": KeyError}[name](text)
        raise Refused(f"{name}: {text}")

    def _rebuilt(self, description: Description) -> Any:
        def other(number: int, kinds: tuple[str, ...]) -> Any:
            return Proxy(self.ask, number, _known_class(kinds)) if self._proxied else Uncrossed(kinds[0] if kinds else "object")

        try:
            return Rebuilder(other).rebuild(description)
        except Malformed as error:
            raise Refused(f"what it sent cannot be rebuilt: {error}") from None


class _ProgramNames(dict[str, Any]):
    """The program's names, for the lines of a context that are run here."""

    def __missing__(self, name: str) -> Any:
        assert _test_run is not None
        return _test_run.ask("name", 0, name)  # a KeyError when the program has none: then it is a builtin


def _described_proxy(value: Any) -> Description:
    if type(value) is not Proxy:
        raise TypeError(f"the test cannot hand a {type(value).__name__} to the program")
    return ("other", value._number, ())


def _pixels(picture: tuple[Any, ...] | None) -> Any:
    import numpy

    if picture is None:
        raise FileNotFoundError("output.png")
    shape, packed = picture
    data = zlib.decompressobj().decompress(packed, _MOST_PICTURE_BYTES)
    return numpy.frombuffer(data, numpy.uint8).reshape(shape)


def _test_watched(exec_test: Callable[[Any, Any], Any], result: Any, expected: Any) -> Any:
    """The test of one result, which refuses an empty one and says what it saw when it fails."""
    if _is_vacuous(result, expected):
        raise AssertionError(f"an empty result, expected {_shown(expected)}")
    said = []
    try:
        if exec_test(result, expected):
            return 1
    except Exception as error:  # noqa: BLE001 - a wrong result can make the test stumble anywhere
        said.append(_said(error))
    if expected is not None:  # tests of figures expect nothing of the result
        said.insert(0, f"got {_shown(result)}, expected {_shown(expected)}")
    raise AssertionError("; ".join(said) or "the test says no")


def _is_vacuous(result: Any, expected: Any) -> bool:
    """Whether the result, or a part of it, is empty where something is expected."""
    if _count(result) == 0:
        return _count(expected) > 0
    if isinstance(result, list | tuple) and isinstance(expected, list | tuple) and len(result) == len(expected):
        return any(map(_is_vacuous, result, expected))
    return False


def _count(value: Any) -> int:
    """How many values there are in it; 1 for what is no collection."""
    if value is None or isinstance(value, str | bytes) or type(value) in (Proxy, Uncrossed):
        return 1
    shape = getattr(value, "shape", None)
    if shape is not None:
        return math.prod(int(size) for size in shape)
    return len(value) if isinstance(value, list | tuple | dict | set | frozenset | range) else 1


_repr = reprlib.Repr()
_repr.maxother = _repr.maxstring = _MOST_SHOWN


def _shown(value: Any) -> str:
    try:
        return " ".join(_repr.repr(value).split())
    except Exception:  # noqa: BLE001 - what a program sent may have no repr
        return f"a {type(value).__name__}"


def _known_class(kinds: tuple[str, ...]) -> type | None:
    """The nearest of the named classes that is one of matplotlib's, which is imported here already."""
    for kind in kinds:
        module, _, name = kind.rpartition(".")
        if module.partition(".")[0] in ("matplotlib", "mpl_toolkits"):
            found = getattr(sys.modules.get(module), name, None)
            if isinstance(found, type) and found.__module__.startswith(("matplotlib.", "mpl_toolkits.")):
                return found
    return None


class _Pickler(pickle.Pickler):
    """Keeps numpy's own types as they are: pandas 1.5 takes a copy of the type of objects for another type, and then
    changes in place what it should copy."""

    def reducer_override(self, obj: Any) -> Any:
        import numpy

        if isinstance(obj, numpy.dtype) and obj.isbuiltin == 1:
            return numpy.dtype, (obj.str,)
        return NotImplemented


def _said(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - the message may hold what the program sent
        text = ""
    return (f"{type(error).__name__}: {text}" if text else type(error).__name__)[:_MOST_TEXT]


_test_run: _TestRun | None = None


def begin(context: str, solution: str, proxied: bool, tail: bool) -> Message:
    """Start the test; returns its first message."""
    global _test_run
    _test_run = test_run = _TestRun(context, solution, proxied, tail)
    threading.stack_size(_STACK_BYTES)
    threading.Thread(target=test_run.run, daemon=True).start()
    return test_run.messages.get()


def go_on(answer: tuple[Any, ...]) -> Message:
    """Hand over what the other side said; returns the next message."""
    assert _test_run is not None
    _test_run.answers.put(answer)
    return _test_run.messages.get()
