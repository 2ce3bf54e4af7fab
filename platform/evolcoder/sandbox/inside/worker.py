"""The code that runs inside the box: a warm parent that forks, for every program, a supervisor and the program's process.

It is started as a script, beside codec.py and confine.py, and imports nothing else of the package but, at the level
landlock, landlock_worker.py and what that imports. The warm parent never runs a program. For each order on its control socket,
which brings two sockets, it forks a supervisor in new namespaces; the supervisor forks the process that reads a program from
the first socket and answers calls on it, waits for its end, and tells it on the second socket, which the program never holds.
In bubblewrap's box a supervisor may serve many programs: see ``_supervise_many``.

Whatever the program's process says is the program's word. It holds no test, no expected value and no verdict.
"""

from __future__ import annotations

import gc
import json
import marshal
import os
import select
import signal
import socket
import struct
import sys
import types
from collections.abc import Callable
from time import perf_counter as _clock
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:  # it runs as a script: its neighbours are found by their bare names
    import evolcoder.sandbox.inside.codec as codec
    import evolcoder.sandbox.inside.confine as confine
    from evolcoder.sandbox.inside.landlock_worker import LandlockIsolation
else:
    import codec
    import confine

_PROGRAM_FD = 3
_LENGTH = struct.Struct(">I")
_FLUSH_BYTES = 1 << 16
_FLUSH_SECONDS = 0.005
_MAX_MESSAGE_CHARACTERS = 1000
_FREE = b"f"
"""What a supervisor says to the warm parent when it can take another order."""
_WARM_MODULES = (
    "abc", "array", "base64", "bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions",
    "functools", "hashlib", "heapq", "itertools", "json", "math", "operator", "random", "re", "statistics", "string",
    "textwrap", "time", "typing", "unicodedata",
)  # fmt: skip
"""Imported once, before any program: a fork then has them at no cost."""


def main() -> None:
    """``worker.py bubblewrap|none CONTROL_FD MODULE ...``, which imports the modules before any program, or
    ``worker.py landlock CONTROL_FD PLAN``: see ``landlock_worker.LandlockIsolation``.
    """
    level = sys.argv[1]
    isolation = None
    if level == "landlock":
        if not TYPE_CHECKING:
            from landlock_worker import LandlockIsolation  # bubblewrap's box does not hold it
        try:
            isolation = LandlockIsolation(json.loads(sys.argv[3]))
        except OSError as error:
            raise SystemExit(error.strerror or str(error)) from None  # one line, for the message that refuses this level
    sys.path.pop(0)  # programs need not find this folder
    if level == "bubblewrap":
        confine.become_nobody()
    warm = [] if level == "landlock" else sys.argv[3:]
    for name in (*_WARM_MODULES, *warm):
        __import__(name)
    if warm and len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError(f"importing {', '.join(warm)} started threads, which a fork would lose")
    confine.filter_program(os.uname().machine)  # kept for all programs
    # A collection in a child would write to the header of every object and so copy the pages that it shares with this one.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[2]))
    control.send(b"warm")
    supervisors: list[socket.socket] = []
    while (order := _next_order(control)) is not None:
        if level == "bubblewrap":
            supervisor = _idle_supervisor(supervisors) or _new_supervisor(supervisors, control, order, names_itself=bool(warm))
            socket.send_fds(supervisor, [json.dumps(order.limits).encode()], [order.program.fileno(), order.status.fileno()])
        elif os.fork() == 0:
            control.close()
            _supervise(order, level, isolation)
        order.program.close()
        order.status.close()
    if isolation is not None:
        isolation.end()
    os._exit(0)


class _Order(NamedTuple):
    """A program to come: its channel, the socket on which its end is told, and what it may use."""

    program: socket.socket
    status: socket.socket
    limits: dict[str, int]


def _next_order(control: socket.socket) -> _Order | None:
    """None: the trusted side has closed the box."""
    message, descriptors, _, _ = socket.recv_fds(control, 4096, 2)
    if not message:
        return None
    program, status = (socket.socket(fileno=fd) for fd in descriptors)
    return _Order(program, status, json.loads(message))


def _idle_supervisor(supervisors: list[socket.socket]) -> socket.socket | None:
    """A supervisor whose last program has ended; those that are no more are forgotten."""
    for supervisor in select.select(supervisors, [], [], 0)[0]:
        if supervisor.recv(1) == _FREE:
            return supervisor
        supervisors.remove(supervisor)
        supervisor.close()
    return None


def _new_supervisor(
    supervisors: list[socket.socket], control: socket.socket, order: _Order, names_itself: bool
) -> socket.socket:
    """A supervisor that is to be given this order first."""
    supervisor, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        for other in (control, order.program, order.status, supervisor, *supervisors):
            other.close()
        _supervise_many(inner, order.limits["tmp_bytes"], names_itself)
    inner.close()
    supervisors.append(supervisor)
    return supervisor


def _supervise_many(orders: socket.socket, tmp_bytes: int, names_itself: bool) -> NoReturn:
    """Run one program after the other, each in a process namespace of its own, but all in the same mounts, as new ones for
    each would cost more time than most programs do. The one place that a program can write to is its /tmp: a supervisor ends
    after the first program that touched it, so that no other finds what it left.
    """
    order = None
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        fault = _enter(tmp_bytes, names_itself)
        while (order := _next_order(orders)) is not None:
            if fault is not None:
                raise fault
            with confine.process_namespace():
                if order.limits["tmp_bytes"] != tmp_bytes:
                    tmp_bytes = order.limits["tmp_bytes"]
                    confine.resize_tmp(tmp_bytes)
                untouched = confine.tmp_state()
                end = _run_program(order, "bubblewrap", None)
            free = confine.tmp_state() == untouched
            if free:
                orders.send(_FREE)  # before its end is told, so that the next order finds it
            order.status.send(end)
            if not free:
                break
            order.status.close()
    except OSError as error:
        if order is not None:
            order.status.send(json.dumps({"fault": str(error)}).encode())
    finally:
        os._exit(0)


def _enter(tmp_bytes: int, names_itself: bool) -> OSError | None:
    """Go on as the first process of a new process namespace, which alone can lead out of those that it makes in it."""
    try:
        confine.enter_namespaces(tmp_bytes, names_itself)
        if os.fork() != 0:
            os._exit(0)
        confine.empty_bounding_set()
    except OSError as error:
        return error
    return None


def _supervise(order: _Order, level: str, isolation: LandlockIsolation | None) -> NoReturn:
    """Run one program, and end with it. Before the program's first word a failure is a fault of the box, and told as one."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if isolation is not None:
            isolation.begin()
        order.status.send(_run_program(order, level, isolation))
    except OSError as error:
        order.status.send(json.dumps({"fault": str(error)}).encode())
    finally:
        os._exit(0)


def _run_program(order: _Order, level: str, isolation: LandlockIsolation | None) -> bytes:
    """Fork the program's process, wait for its end, and return how it ended."""
    child = os.fork()
    if child == 0:
        order.status.close()
        _become_program(order.program, order.limits, level, isolation)
    order.program.close()
    code, usage, why = isolation.watch(child, order.limits) if isolation is not None else (*os.wait4(child, 0)[1:], "")
    end = {"cpu_seconds": usage.ru_utime + usage.ru_stime, "code": os.waitstatus_to_exitcode(code), "why": why}
    return json.dumps(end).encode()


def _become_program(
    channel: socket.socket, limits: dict[str, int], level: str, isolation: LandlockIsolation | None
) -> NoReturn:
    try:
        if isolation is not None:
            isolation.enter()
        os.setsid()
        # Only this one socket stays: a descriptor of the status or control socket would let a program forge its own end.
        os.dup2(channel.fileno(), _PROGRAM_FD)
        os.closerange(_PROGRAM_FD + 1, 1 << 16)
        nothing = os.open("/dev/null", os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        os.close(nothing)
        channel.detach()
        stream = socket.socket(fileno=_PROGRAM_FD)
        confine.die_with_parent()
        # The filter comes last: it refuses to change the CPU limit and the death signal, which are set here.
        confine.limit_resources(limits["memory_bytes"], limits["cpu_seconds"], limits["tmp_bytes"], limits["processes"])
        if isolation is not None:
            isolation.lock()
        elif level == "bubblewrap":
            confine.keep_capabilities(0)
            confine.filter_system_calls()
    except OSError as error:
        os.write(_PROGRAM_FD, b"X" + str(error).encode()[:500])
        os._exit(1)
    # The first byte carries this process's credentials, which the kernel writes: so the other side learns its pid.
    stream.send(b"R")
    _serve(stream, limits)


def _serve(stream: socket.socket, limits: dict[str, int]) -> NoReturn:
    module = types.ModuleType("program")
    sys.modules["program"] = module
    bounds = codec.Bounds(total_bytes=limits["reply_bytes"], int_bytes=limits["reply_bytes"])
    while True:
        (size,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
        kind, *rest = marshal.loads(_exactly(stream, size))  # the trusted side's own bytes
        if kind == "calls":
            _answer_calls(stream, module.__dict__, bounds, *rest)
        else:
            stream.sendall(_answer(lambda: _do(module.__dict__, kind, *rest), bounds, False))  # noqa: B023 - called at once


def _do(namespace: dict[str, Any], kind: str, *rest: Any) -> Any:
    if kind == "load":
        exec(compile(rest[0], "program.py", "exec"), namespace)
        return None
    if kind == "evaluate":
        return eval(compile(rest[0], "expression", "eval"), namespace)
    name, args, kwargs = rest
    return _function(namespace, name)(*args, **kwargs)


def _answer_calls(
    stream: socket.socket, namespace: dict[str, Any], bounds: codec.Bounds, name: str, arguments: tuple[bytes, ...]
) -> None:
    """One reply a call, in order. Sent together while they come fast, so that each does not wake up the other side."""
    waiting = bytearray()
    sent_at = _clock()
    for encoded in arguments:
        waiting += _answer(lambda: _function(namespace, name)(*marshal.loads(encoded)), bounds, True)  # noqa: B023 - at once
        if len(waiting) > _FLUSH_BYTES or _clock() - sent_at > _FLUSH_SECONDS:
            stream.sendall(waiting)
            waiting.clear()
            sent_at = _clock()
    stream.sendall(waiting)


def _answer(act: Callable[[], Any], bounds: codec.Bounds, digests: bool) -> bytes:
    """What came of it. A program may raise anything, here too, and from the very handler of what it raised.

    A reply is ``v`` and the value, ``h`` with a digest and the size of a value that is too large to be sent (where
    ``digests`` may stand for values), ``u`` and why the value cannot be sent, or ``r`` and what was raised.
    """
    try:
        try:
            encoded = codec.encode_fast(act(), bounds, digests)
            if isinstance(encoded, codec.Digest):
                payload = b"h" + encoded.sha256 + encoded.size.to_bytes(8, "big")
            else:
                payload = b"v" + encoded
        except codec.CodecError as error:
            payload = b"u" + codec.encode(str(error))
        except BaseException as error:  # noqa: BLE001 - SystemExit and KeyboardInterrupt are the program's too
            # No text of a MemoryError: to make one takes memory.
            text = "" if isinstance(error, MemoryError) else str(error)[:_MAX_MESSAGE_CHARACTERS]
            payload = b"r" + codec.encode((str(type(error).__name__)[:100], text), bounds)
    except BaseException:  # noqa: BLE001 - an exception that cannot even be described
        payload = b"r" + codec.encode(("Exception", "an exception that cannot be described"))
    return _LENGTH.pack(len(payload)) + payload


def _function(namespace: dict[str, Any], name: str) -> Any:
    if name not in namespace:
        raise NameError(f"the program defines no {name}")
    return namespace[name]


def _exactly(stream: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = stream.recv(min(size - len(data), 1 << 20))
        if not part:
            os._exit(0)
        data += part
    return bytes(data)


if __name__ == "__main__":
    main()
