"""The code that runs inside the box: a warm parent that forks, for every program, a supervisor and the program's process.

It is started as a script, beside calls.py, codec.py, confine.py and fresh_modules.py, and imports nothing else of the package
but, where it isolates otherwise, landlock_worker.py or scratch.py. The warm parent never runs a program. For each order on
its control socket, which brings two sockets, it forks a supervisor in new namespaces; the supervisor forks the process that
reads a program from the first socket and answers calls on it, waits for its end, and tells it on the second socket, which the
program never holds.
In bubblewrap's box a supervisor may serve many programs: see ``_supervise_many``.

A program is to find what a new ``python program.py`` would show it and nothing of this file's: see ``_look_new`` and the last
lines. Whatever the program's process says is the program's word. It holds no test, no expected value and no verdict.
"""

from __future__ import annotations

import builtins
import gc
import json
import os
import select
import signal
import site
import socket
import struct
import sys
from importlib.machinery import BuiltinImporter, ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, NoReturn

if TYPE_CHECKING:  # it runs as a script: its neighbours are found by their bare names
    import evolcoder.sandbox.inside.confine as confine
    from evolcoder.sandbox.inside.calls import FILE, Calls
    from evolcoder.sandbox.inside.fresh_modules import FreshModules
    from evolcoder.sandbox.inside.landlock_worker import LandlockIsolation
    from evolcoder.sandbox.inside.scratch import OwnFolder
else:
    import confine
    from calls import FILE, Calls
    from fresh_modules import FreshModules

_PROGRAM_FD = 3
_OWN_MODULES = ("calls", "codec", "confine", "fresh_modules", "landlock", "landlock_worker", "scratch")
_DESCRIPTORS = struct.Struct("2i")
_FREE = b"f"
"""What a supervisor says to the warm parent when it can take another order."""
_WARM_MODULES = (
    "abc", "array", "base64", "bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions",
    "functools", "hashlib", "heapq", "itertools", "json", "linecache", "math", "operator", "random", "re", "statistics",
    "string", "textwrap", "time", "typing", "unicodedata",
)  # fmt: skip
"""Imported once, before any program: a fork then has them at no cost."""


def main() -> None:
    """``worker.py bubblewrap|none CONTROL_FD MODULE ...``, which imports the modules before any program, or
    ``worker.py landlock CONTROL_FD PLAN``: see ``landlock_worker.LandlockIsolation``.
    """
    level, descriptor, *rest = sys.argv[1:]
    isolation: LandlockIsolation | OwnFolder | None = None
    if level == "none":
        if not TYPE_CHECKING:
            from scratch import OwnFolder
        isolation = OwnFolder()
    if level == "landlock":
        if not TYPE_CHECKING:
            from landlock_worker import LandlockIsolation  # bubblewrap's box does not hold it
        try:
            isolation = LandlockIsolation(json.loads(rest[0]))
        except OSError as error:
            raise SystemExit(error.strerror or str(error)) from None  # one line, for the message that refuses this level
    sys.path.pop(0)  # programs need not find this folder
    os.umask(0o022)
    if level == "bubblewrap":
        confine.become_nobody()
    warm = [] if level == "landlock" else rest
    modules = None
    if warm:
        for name in (*_WARM_MODULES, *warm):
            __import__(name)
        if len(os.listdir("/proc/self/task")) > 1:
            raise RuntimeError(f"importing {', '.join(warm)} started threads, which a fork would lose")
    else:
        modules = FreshModules(_WARM_MODULES)  # libraries are too large to be put away: thousands of modules
    sources = sys.modules["linecache"] if modules is None else modules.away["linecache"]
    box = _Box(isolation, modules, _look_new(), sources)
    if modules is not None:
        modules.put_away()
    confine.filter_program(os.uname().machine)  # kept for all programs
    # A collection in a child would write to the header of every object and so copy the pages that it shares with this one.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    control = socket.socket(fileno=int(descriptor))
    control.send(b"warm")
    supervisors: list[socket.socket] = []
    while (order := _next_order(control)) is not None:
        if level == "bubblewrap":
            supervisor = _free_supervisor(supervisors, control, order, box)
            # Not by send_fds: it imports a module at each call, which programs would then see.
            sockets = _DESCRIPTORS.pack(order.program.fileno(), order.status.fileno())
            supervisor.sendmsg([json.dumps(order.limits).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, sockets)])
        elif os.fork() == 0:
            control.close()
            _supervise(order, box)
        order.program.close()
        order.status.close()
    if isolation is not None:
        isolation.end()
    os._exit(0)


class _Box(NamedTuple):
    """What is the same for all programs. ``modules`` is None where what is warm is in their sight: large libraries. ``module``
    is what a program becomes, and ``sources`` the module linecache as programs see it.
    """

    isolation: LandlockIsolation | OwnFolder | None
    modules: FreshModules | None
    module: ModuleType
    sources: ModuleType


class _Order(NamedTuple):
    """A program to come: its channel, the socket on which its end is told, and what it may use."""

    program: socket.socket
    status: socket.socket
    limits: dict[str, int]


def _next_order(control: socket.socket) -> _Order | None:
    """None: the trusted side has closed the box."""
    message, ancillary, _, _ = control.recvmsg(4096, socket.CMSG_SPACE(_DESCRIPTORS.size))
    if not message:
        return None
    program, status = (socket.socket(fileno=fd) for fd in _DESCRIPTORS.unpack(ancillary[0][2]))
    return _Order(program, status, json.loads(message))


def _free_supervisor(supervisors: list[socket.socket], control: socket.socket, order: _Order, box: _Box) -> socket.socket:
    """A supervisor whose last program has ended, else a new one; those that are no more are forgotten."""
    for supervisor in select.select(supervisors, [], [], 0)[0]:
        if supervisor.recv(1) == _FREE:
            return supervisor
        supervisors.remove(supervisor)
        supervisor.close()
    supervisor, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        for other in (control, order.program, order.status, supervisor, *supervisors):
            other.close()
        _supervise_many(inner, order.limits["tmp_bytes"], box)
    inner.close()
    supervisors.append(supervisor)
    return supervisor


def _supervise_many(orders: socket.socket, tmp_bytes: int, box: _Box) -> NoReturn:
    """Run one program after the other, each in a process namespace of its own, but all in the same mounts, as new ones for
    each would cost more time than most programs do. The one place that a program can write to is its /tmp: a supervisor ends
    after the first program that touched it, so that no other finds what it left.
    """
    order = None
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        order = _next_order(orders)
        confine.enter_namespaces(tmp_bytes, names_itself=box.modules is None)
        if os.fork() != 0:
            os._exit(0)  # only the first process of a process namespace can lead out of those that it makes in it
        confine.empty_bounding_set()
        while order is not None:
            with confine.process_namespace():
                if order.limits["tmp_bytes"] != tmp_bytes:
                    tmp_bytes = order.limits["tmp_bytes"]
                    confine.resize_tmp(tmp_bytes)
                untouched = confine.tmp_state()
                end = _run_program(order, box)
            free = confine.tmp_state() == untouched
            if free:
                orders.send(_FREE)  # before its end is told, so that the next order finds it
            order.status.send(end)
            if not free:
                break
            order.status.close()
            order = _next_order(orders)
    except OSError as error:
        if order is not None:
            order.status.send(json.dumps({"fault": str(error)}).encode())
    os._exit(0)


def _supervise(order: _Order, box: _Box) -> NoReturn:
    """Run one program, and end with it. Before the program's first word a failure is a fault of the box, and told as one."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        assert box.isolation is not None
        box.isolation.begin()
        order.status.send(_run_program(order, box))
    except OSError as error:
        order.status.send(json.dumps({"fault": str(error)}).encode())
    os._exit(0)


def _run_program(order: _Order, box: _Box) -> bytes:
    """Fork the program's process, wait for its end, and return how it ended."""
    if box.modules is not None:
        # What functions of the standard library import at their first call. Not in the program's process: that copies pages.
        box.modules.put_away()
    child = os.fork()
    if child == 0:
        raise _ProgramProcess(order, box)
    order.program.close()
    isolation = box.isolation
    code, usage, why = isolation.watch(child, order.limits) if isolation is not None else (*os.wait4(child, 0)[1:], "")
    end = {"cpu_seconds": usage.ru_utime + usage.ru_stime, "code": os.waitstatus_to_exitcode(code), "why": why}
    return json.dumps(end).encode()


class _ProgramProcess(BaseException):
    """Raised with the order and the box in a program's process, to leave all functions of the processes that it was forked
    from: their calls would count against the program's depth of recursion.
    """


def _begin_program(order: _Order, box: _Box) -> Calls:
    """Shut this process in, and be ready for the program."""
    limits, isolation = order.limits, box.isolation
    try:
        if isolation is not None:
            isolation.enter()
        os.setsid()
        # Only this one socket stays: a descriptor of the status or control socket would let a program forge its own end.
        os.dup2(order.program.fileno(), _PROGRAM_FD)
        os.closerange(_PROGRAM_FD + 1, 1 << 16)
        nothing = os.open("/dev/null", os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        os.close(nothing)
        order.program.detach()
        order.status.detach()
        stream = socket.socket(fileno=_PROGRAM_FD)
        confine.die_with_parent()
        # The filter comes last: it refuses to change the CPU limit and the death signal, which are set here.
        confine.limit_resources(limits["memory_bytes"], limits["cpu_seconds"], limits["tmp_bytes"], limits["processes"])
        if isolation is not None:
            isolation.lock()
        else:
            confine.keep_capabilities(0)
            confine.filter_system_calls()
    except OSError as error:
        os.write(_PROGRAM_FD, b"X" + str(error).encode()[:500])
        os._exit(1)
    # The first byte carries this process's credentials, which the kernel writes: so the other side learns its pid.
    stream.send(b"R")
    return Calls(stream, limits["reply_bytes"], box.module, box.sources)


def _look_new() -> ModuleType:
    """What a program will see of its interpreter is as after ``python -c "import program"`` in an empty folder. In the parent:
    all that a fork changes are pages that it must copy.

    Returns:
        The program's module, as an import of program.py would make it, but for the folder. There is no such file.
    """
    # What module site adds to a Python that was not started with -S.
    site.setquit()
    site.setcopyright()
    site.sethelper()
    sys.argv[:] = [FILE]
    sys.orig_argv[:] = ["python", FILE]
    sys.path.insert(0, "")
    for own in _OWN_MODULES:
        sys.modules.pop(own, None)
    main_module = ModuleType("__main__")
    main_module.__dict__.update(__builtins__=builtins, __annotations__={}, __loader__=BuiltinImporter)
    sys.modules["__main__"] = main_module
    spec = ModuleSpec("program", SourceFileLoader("program", FILE), origin=FILE)
    spec.has_location = True
    module = sys.modules["program"] = module_from_spec(spec)
    return module


if __name__ == "__main__":
    try:
        main()
    except _ProgramProcess as process:
        calls = _begin_program(*process.args)
        left = process  # with the frames that were left: to free them takes time, and copies of the pages that they are on
    # The calls are made here and not in a function, so that a program may recurse as deep as in a Python of its own.
    while True:
        act, args, kwargs = calls.take()
        try:
            calls.returned(act(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - SystemExit and KeyboardInterrupt are the program's too
            calls.raised(error)
        del act, args, kwargs  # the program's objects
