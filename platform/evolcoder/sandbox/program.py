"""One running program, seen from the trusted side: load it, call its functions, time it, kill it.

The clock is the kernel's CPU clock of the program's process, read from outside; wall time is the backstop. Results are
rebuilt from plain data by the codec. What a program can say, and how it can fail, is in ``outcomes.py``.
"""

from __future__ import annotations

import contextlib
import json
import marshal
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from evolcoder.sandbox.inside import codec
from evolcoder.sandbox.isolation import ResourceLimits
from evolcoder.sandbox.outcomes import (
    BadReply,
    BoxFault,
    Call,
    CallReply,
    ProgramEnded,
    ProgramFault,
    ProgramTimeout,
)

_LENGTH = struct.Struct(">I")
_START_SECONDS = 30.0
_END_SECONDS = 10.0
_LONGEST_WAIT_SECONDS = 0.25
_STARVED_FACTOR = 10
_CHUNK_BYTES = 1 << 18
_CREDENTIALS = struct.Struct("iii")


class Program(contextlib.AbstractContextManager["Program"]):
    """A process that waits for its source. Use it from one thread, as a context manager; leaving kills it.

    ``channel`` must have had SO_PASSCRED set before the process could say its first word.
    """

    def __init__(self, channel: socket.socket, status: socket.socket, limits: ResourceLimits, isolated: bool) -> None:
        self.limits = limits
        most = limits.reply_bytes + 64
        self._bounds = codec.Bounds(most, items=max(1_000_000, most // 4), int_bytes=max(8192, most // 512))
        self.last_call: Call | None = None
        self.fault: ProgramFault | BoxFault | None = None
        self._channel, self._status, self._isolated = channel, status, isolated
        self._pidfd = -1
        self._killed = False
        self._wall_start = time.monotonic()
        self._pid = 0
        self._await_ready()
        self._cpu_start = self._cpu_last = 0.0
        self._cpu_start, self._cpu_last = self.cpu_seconds, 0.0

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self, source: str) -> None:
        """Run the program's top level.

        Raises:
            ProgramRaised, ProgramFault, BoxFault
        """
        self._ask(("load", source), self.limits.import_cpu_seconds)

    def function(self, name: str) -> Callable[..., Any]:
        """A callable that stands for the program's function of that name, whether or not there is one.

        Arguments go over as copies: what the program does to them in place is not seen outside.
        """
        return lambda *args, **kwargs: self._recorded(Call(name, args, kwargs), ("call", name, args, kwargs))

    def evaluate(self, expression: str) -> Any:
        """The value of an expression over the program's own names."""
        return self._recorded(Call(expression, None), ("evaluate", expression))

    def _recorded(self, call: Call, request: tuple[Any, ...]) -> Any:
        self.last_call = call
        result = self._ask(request, self.limits.call_cpu_seconds)
        self.last_call = Call(call.name, call.args, call.kwargs, (result,))
        return result

    def differing(self, name: str, arguments: Sequence[bytes], expected: Sequence[bytes]) -> Iterator[tuple[int, CallReply]]:
        """Call the function once for each tuple of arguments, and yield the replies whose bytes are not the expected ones.

        The calls go over together and the replies are compared as bytes, so that agreement costs next to nothing. Bytes
        that differ may stand for equal values all the same (1 for True): that is the caller's to decide. Of values larger
        than a reply may be, only a digest comes back. Stop early by closing the program.

        Args:
            arguments: encoded by ``marshal``, version 2; each call has its own copies.
            expected: the payload of the reply expected to each call. When empty, every reply is yielded.

        Raises:
            ProgramFault, BoxFault
        """
        limit = self.limits.call_cpu_seconds
        frames = [_LENGTH.pack(len(payload)) + payload for payload in expected]
        index, data = 0, bytearray()
        with self._guarded():
            deadline = self._send(("calls", name, tuple(arguments)), limit)
            while index < len(arguments):
                data += self._some(deadline)
                start, used = index, 0
                found: list[tuple[int, CallReply]] = []
                while True:
                    if index < len(frames) and data.startswith(frames[index], used):
                        used += len(frames[index])
                    elif (reply := self._reply_at(used, data)) is not None:
                        found.append((index, reply))
                        used += _LENGTH.size + len(reply.payload)
                    else:
                        break
                    index += 1
                del data[:used]
                yield from found
                if index == start + 1:
                    deadline.check()  # a reply that came late is late
                if index > start:
                    deadline = _Deadline(self, limit)

    def _reply_at(self, place: int, data: bytearray) -> CallReply | None:
        """The reply that begins there; None when it has not come as a whole yet."""
        begin = place + _LENGTH.size
        if len(data) < begin:
            return None
        (size,) = _LENGTH.unpack_from(data, place)
        if size > self.limits.reply_bytes + 64:
            raise BadReply(f"its reply of {size} bytes is larger than the {self.limits.reply_bytes} allowed")
        return CallReply(bytes(data[begin : begin + size]), self._bounds) if len(data) >= begin + size else None

    @property
    def cpu_seconds(self) -> float:
        """CPU time that the program has used so far, all threads together."""
        with contextlib.suppress(OSError):  # it is gone
            now = time.clock_gettime((~self._pid << 3) | 2)  # CPUCLOCK_SCHED of a pid: see clock_getcpuclockid(3)
            self._cpu_last = max(self._cpu_last, now - self._cpu_start)
        return self._cpu_last

    @property
    def wall_seconds(self) -> float:
        return time.monotonic() - self._wall_start

    def close(self) -> None:
        """Kill the program and all that it left; returns when nothing of it runs."""
        if self._pidfd >= 0:
            self._kill()
            self._end_report()
            os.close(self._pidfd)
            self._pidfd = -1
        self._channel.close()
        self._status.close()

    def _await_ready(self) -> None:
        """Wait for the process's first word, and learn its pid from the kernel, which vouches for it."""
        self._channel.settimeout(_START_SECONDS)
        try:
            data, ancillary, _, _ = self._channel.recvmsg(600, socket.CMSG_SPACE(_CREDENTIALS.size))
            if data == b"R" and ancillary:
                self._pid = int(_CREDENTIALS.unpack(ancillary[0][2])[0])
                self._pidfd = os.pidfd_open(self._pid)  # from now on a reused pid cannot be killed in its place
                self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
                self._channel.setblocking(False)
                return
            why = data[1:].decode("utf-8", "replace")
            if not why:
                report = self._end_report()
                why = report.get("fault", f"its process ended at once ({report.get('code')})")
        except OSError as error:
            why = str(error)
        self.close()
        raise BoxFault(f"the box could not prepare a process: {why}")

    def _ask(self, request: tuple[Any, ...], cpu_limit_seconds: float) -> Any:
        with self._guarded():
            deadline = self._send(request, cpu_limit_seconds)
            data = bytearray()
            while (reply := self._reply_at(0, data)) is None:
                data += self._some(deadline)
            deadline.check()  # a reply that came late is late
            if len(data) > _LENGTH.size + len(reply.payload):
                raise BadReply("it said more than it was asked for")
            return reply.value()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """A fault in the block ends the program for good."""
        if self.fault is not None:
            raise self.fault
        try:
            yield
        except (ProgramFault, BoxFault) as fault:
            self.fault = fault
            self._kill()
            raise

    def _send(self, request: tuple[Any, ...], cpu_limit_seconds: float) -> _Deadline:
        data = marshal.dumps(request, codec.MARSHAL_VERSION)
        deadline = _Deadline(self, cpu_limit_seconds)
        view = memoryview(_LENGTH.pack(len(data)) + data)
        while view:
            try:
                view = view[self._channel.send(view) :]
            except BlockingIOError:
                deadline.wait(self._channel, select.POLLOUT)
            except OSError:
                raise self._why_it_ended() from None
        return deadline

    def _some(self, deadline: _Deadline) -> bytes:
        """The next bytes that the program sends."""
        while True:
            try:
                part = self._channel.recv(_CHUNK_BYTES)
            except BlockingIOError:
                deadline.wait(self._channel, select.POLLIN)
                continue
            except OSError:
                part = b""
            if not part:
                raise self._why_it_ended()
            return part

    def _kill(self) -> None:
        # The process is the first of its pid namespace: the kernel kills the whole namespace with it.
        self._killed = True
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            if not self._isolated:
                os.killpg(self._pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # already gone

    def _end_report(self) -> dict[str, Any]:
        """What the supervisor says once the process is reaped; empty when the supervisor is gone too."""
        self._status.settimeout(_END_SECONDS)
        try:
            report: dict[str, Any] = json.loads(self._status.recv(4096) or b"{}")
        except (OSError, ValueError):
            return {}
        return report

    def _why_it_ended(self) -> ProgramFault | BoxFault:
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        if not poll.poll(1000):
            return ProgramEnded("it closed the channel on which its results are read")
        report = self._end_report()
        code = report.get("code")
        if code is None:
            return BoxFault("the box died while the program ran")
        self._cpu_last = max(self._cpu_last, float(report["cpu_seconds"]) - self._cpu_start)
        if report["why"]:
            return ProgramEnded(f"it was ended: {report['why']}")
        if code >= 0:
            return ProgramEnded(f"it ended itself with exit status {code}")
        name = signal.Signals(-code).name
        if code in (-signal.SIGKILL, -signal.SIGXCPU) and self._cpu_last >= self.limits.task_cpu_seconds:
            return ProgramTimeout(f"more than {self.limits.task_cpu_seconds:g} s of CPU time")
        if code == -signal.SIGKILL and self._isolated and not self._killed:
            return BoxFault("something outside killed the program; is the machine out of memory?")
        return ProgramEnded(f"it crashed with {name}")


class _Deadline:
    """The limits of one exchange: CPU time of the call and of the whole run, and wall time behind both."""

    def __init__(self, program: Program, cpu_limit_seconds: float) -> None:
        limits = program.limits
        self._program = program
        cpu_limit = program.cpu_seconds + cpu_limit_seconds
        self._cpu_limit = min(cpu_limit, limits.task_cpu_seconds)
        self._seconds = cpu_limit_seconds if cpu_limit <= limits.task_cpu_seconds else limits.task_cpu_seconds
        self._wall_limit = min(
            program.wall_seconds + cpu_limit_seconds * limits.wall_factor, limits.task_cpu_seconds * limits.wall_factor
        )
        self._poll = select.poll()

    def check(self) -> tuple[float, float]:
        """CPU and wall seconds left.

        Raises:
            ProgramTimeout: one of them is used up.
        """
        cpu_left = self._cpu_limit - self._program.cpu_seconds
        wall_left = self._wall_limit - self._program.wall_seconds
        if wall_left <= 0:
            # Time in which its main thread wanted a processor and got none is the machine's, not the program's.
            with contextlib.suppress(OSError, IndexError, ValueError):  # the kernel does not say
                starved_ns = int(Path(f"/proc/{self._program._pid}/schedstat").read_text("ascii").split()[1])
                wall_left += min(starved_ns / 1e9, _STARVED_FACTOR * self._wall_limit)
        if cpu_left <= 0:
            raise ProgramTimeout(f"more than {self._seconds:g} s of CPU time")
        if wall_left <= 0:
            raise ProgramTimeout(f"no answer in {self._seconds * self._program.limits.wall_factor:g} s, busy or not")
        return cpu_left, wall_left

    def wait(self, channel: socket.socket, event: int) -> None:
        """Until the channel is ready or it is time to look at the clocks again."""
        cpu_left, wall_left = self.check()
        # Threads can use CPU time faster than the clock on the wall runs, so look more often than cpu_left says.
        seconds = min(max(cpu_left, 0.01), wall_left, _LONGEST_WAIT_SECONDS)
        self._poll.register(channel, event)
        self._poll.poll(seconds * 1000)
        self._poll.unregister(channel)
