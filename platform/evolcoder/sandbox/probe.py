"""Whether a level of isolation holds on this machine: it is tried, not guessed."""

from __future__ import annotations

from evolcoder.errors import SandboxError
from evolcoder.sandbox.box import BoxSettings, Sandbox
from evolcoder.sandbox.inside import landlock
from evolcoder.sandbox.isolation import Level, SandboxReport
from evolcoder.sandbox.outcomes import BoxFault, ProgramFault, ProgramRaised

_RIGHT = "def double(x):\n    return 2 * x\n"
_WRONG = "def double(x):\n    return 2 * x + 1\n"
_CURIOUS = """
import os, resource, socket

def allowed(shared):
    done = []
    attempts = {
        "fork a process": lambda: os.fork() or os._exit(0),
        "open a socket": lambda: socket.socket(),
        "write outside its own folder": lambda: open("/box/left", "w"),
        "write to the standard library": lambda: os.unlink(open(os.path.dirname(os.__file__) + "/evolcoder-left", "w").name),
        "read /proc": lambda: open("/proc/self/environ"),
        "read the system's users": lambda: open("/etc/passwd"),
    }
    if shared:
        attempts.update({
            "list the files of the machine": lambda: os.listdir("/"),
            "list the temporary files of others": lambda: os.listdir("/tmp"),
            "write to shared memory": lambda: os.unlink(open("/dev/shm/evolcoder-left", "w").name),
            "reach its parent with a signal": lambda: os.kill(os.getppid(), 0),
            "change its parent's limits": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CORE, (0, 0)),
            "change a file's mode": lambda: os.chmod(os.getcwd(), 0o700),
            "make a datagram socket": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
        })
    for name, attempt in attempts.items():
        try:
            attempt()
            done.append(name)
        except OSError:
            pass
    return done
"""


_HOLDS: dict[Level, str] = {
    "bubblewrap": "own namespaces, no network, no files but a private /tmp, no new processes",
    "landlock": "the kernel's Landlock (version {abi}), no network, no files but an own folder, no new processes",
    "none": "programs run with limits, but nothing keeps them from your files and network",
}


def self_check(box: Sandbox) -> None:
    """Run a right, a wrong and a curious program, as a new box's first.

    Raises:
        SandboxError: results come back wrong, or a program could do what it must not.
    """
    try:
        for source, expected in ((_RIGHT, 42), (_WRONG, 43)):
            with box.start(source) as program:
                got = program.function("double")(21)
                if got != expected:
                    raise SandboxError(
                        f"The sandbox returned {got!r} where {expected} was right; no score from it can be trusted."
                    )
        if box.settings.level == "none":
            return
        with box.start(_CURIOUS) as program:
            allowed = program.function("allowed")(box.settings.level == "landlock")
    except (ProgramFault, ProgramRaised, BoxFault) as fault:
        raise SandboxError(f"The sandbox does not run a simple program here ({fault}).") from None
    if allowed != []:
        raise SandboxError(f"The sandbox does not hold here: a program could {' and '.join(map(str, allowed))}.")


def probe(level: Level = "bubblewrap") -> SandboxReport:
    """Start a box of this level and check it; never raises."""
    try:
        with Sandbox(BoxSettings(level)) as box:
            self_check(box)
    except SandboxError as error:
        return SandboxReport(level, False, error.message)
    return SandboxReport(level, True, f"{level}: {_HOLDS[level].format(abi=landlock.version())}")


def probe_all() -> list[SandboxReport]:
    """The levels that isolate, best first."""
    return [probe("bubblewrap"), probe("landlock")]
