"""The program by which a new box is checked: it computes rightly, wrongly, and tries what a box must refuse.

It runs in the box as any other program, sent there as text, and judges nothing itself.
"""

# ruff: noqa: SIM115 - what is opened here should be refused

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable


def double(number: int) -> int:
    return 2 * number


def double_wrongly(number: int) -> int:
    return 2 * number + 1


def allowed(shared: bool) -> list[str]:
    """What was not refused, of what must be.

    Args:
        shared: the box shares the machine's namespaces (the level landlock), so that there is more to try.
    """
    attempts: dict[str, Callable[[], object]] = {
        "fork a process": lambda: os.fork() or os._exit(0),
        "open a socket": lambda: socket.socket(),
        "write outside its own folder": lambda: open("/box/left", "w"),
        "write to the standard library": lambda: os.unlink(open(os.path.dirname(os.__file__) + "/evolcoder-left", "w").name),
        "read /proc": lambda: open("/proc/self/environ"),
        "read the system's users": lambda: open("/etc/passwd"),
    }
    if shared:
        attempts |= {
            "list the files of the machine": lambda: os.listdir("/"),
            "list the temporary files of others": lambda: os.listdir("/tmp"),
            "write to shared memory": lambda: os.unlink(open("/dev/shm/evolcoder-left", "w").name),
            "reach its parent with a signal": lambda: os.kill(os.getppid(), 0),
            "change its parent's limits": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CORE, (0, 0)),
            "change a file's mode": lambda: os.chmod(os.getcwd(), 0o700),
            "make a datagram socket": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
        }
    done = []
    for name, attempt in attempts.items():
        try:
            attempt()
            done.append(name)
        except OSError:
            pass
    return done
