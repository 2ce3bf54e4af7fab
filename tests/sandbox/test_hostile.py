"""Programs that cheat, harm or hide: none passes, none harms, nothing of them remains.

Most of them answer rightly if, and only if, what they tried worked; so `passed` means that the sandbox leaks.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from evolcoder.evaluate.benchmarks import benchmark_named
from evolcoder.evaluate.benchmarks.base import Problem
from evolcoder.evaluate.judge import Job, Submission, judge
from evolcoder.records import Verdict
from evolcoder.sandbox.box import BoxSettings, Sandbox
from evolcoder.sandbox.inside import landlock
from evolcoder.sandbox.isolation import ResourceLimits

CORPUS = sorted((Path(__file__).parent / "hostile").glob("*.py"))
PROBLEM = Problem(
    task_id="Hostile/0",
    prompt='def solve(n):\n    """The squares of 0 to n - 1."""\n',
    entry_point="solve",
    canonical_solution="    return [i * i for i in range(n)]\n",
    test="def check(candidate):\n    assert candidate(4) == [0, 1, 4, 9]\n    assert candidate(1) == [0]\n",
)
RIGHT = PROBLEM.prompt + PROBLEM.canonical_solution
LIMITS = ResourceLimits(import_cpu_seconds=2, call_cpu_seconds=1, task_cpu_seconds=2, wall_factor=4, memory_bytes=512 << 20)
TIMEOUTS = {
    "caught_timeout", "decoder_slow_drip", "exception_that_spins", "output_flood", "sleep", "sleep_at_import", "spin",
}  # fmt: skip
MEMORY = {"compile_bomb", "memory_flood"}
EITHER = {"deep_recursion", "memory_caught", "spin_threads"}
"""They meet a limit or give a wrong answer, whichever comes first."""

SEES_PATHS = {"read_home"}
"""It looks whether paths exist. Landlock keeps programs from reading them, not from that, and docs/evaluate.md says so; what
can be read is the matter of read_contents."""

MARK = Path("/tmp/evolcoder_hostile_mark")


def run(box: Sandbox, program: str) -> Verdict:
    return judge(box, Job(benchmark_named("humaneval"), PROBLEM, 0, Submission("solution", program)))


@pytest.fixture(scope="module", params=["bubblewrap", pytest.param("landlock", marks=pytest.mark.long)])
def box(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    if request.param == "landlock" and landlock.version() == 0:
        pytest.skip("this kernel has no Landlock")
    with Sandbox(BoxSettings(request.param, LIMITS)) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """What a program that reaches the network would reach."""
    with socket.create_server(("127.0.0.1", 18999)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture(scope="module")
def named_sockets() -> Iterator[list[socket.socket]]:
    """What a program that sends datagrams to others on this machine would reach."""
    path = "/tmp/evolcoder_hostile_datagrams"
    sockets = [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
    for one, address in zip(sockets, (path, "\0evolcoder_hostile_datagrams"), strict=True):
        one.bind(address)
        one.setblocking(False)
    os.chmod(path, 0o777)
    yield sockets
    os.unlink(path)
    for one in sockets:
        one.close()


def descendants() -> set[int]:
    """The processes below this one."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    waiting = [os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found.update(below)
        waiting += below
    return found


def left_behind(before: set[int]) -> set[int]:
    """New processes that are still there after a while: a supervisor needs a moment to end after its program."""
    for _ in range(100):
        extra = descendants() - before
        if not extra:
            break
        time.sleep(0.02)
    return extra


def test_the_corpus_is_there() -> None:
    assert len(CORPUS) >= 60


def test_a_right_program_passes(box: Sandbox) -> None:
    verdict = run(box, RIGHT)
    assert (verdict.status, verdict.detail) == ("passed", "")


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_hostile_program(path: Path, box: Sandbox, listener: socket.socket, named_sockets: list[socket.socket]) -> None:
    run(box, RIGHT)
    before = descendants()
    verdict = run(box, path.read_text("utf-8"))

    expected = "timeout" if path.stem in TIMEOUTS else "memory" if path.stem in MEMORY else "failed"
    allowed = {"failed", "timeout", "memory"} if path.stem in EITHER else {expected}
    if box.settings.level == "landlock" and path.stem in SEES_PATHS:
        assert verdict.status == "passed"
        return
    assert verdict.status in allowed, f"{verdict.status}: {verdict.detail}"
    assert verdict.detail
    assert len(verdict.detail) < 1000
    verdict.detail.encode("utf-8")
    assert not MARK.exists()
    with pytest.raises(BlockingIOError):
        listener.accept()
    for one in named_sockets:
        with pytest.raises(BlockingIOError):
            one.recv(1)
    assert not left_behind(before), "a process was left behind"
    assert run(box, RIGHT).status == "passed", "the box no longer works"


def test_the_package_on_disk_is_unchanged_by_all_of_them(box: Sandbox) -> None:
    folder = Path(__file__).parents[2] / "platform/evolcoder/sandbox"
    before = {path: path.read_bytes() for path in folder.rglob("*.py")}
    run(box, (Path(__file__).parent / "hostile/write_outside.py").read_text("utf-8"))
    assert {path: path.read_bytes() for path in folder.rglob("*.py")} == before


@pytest.mark.parametrize("program", ["solve = 1\0", "def solve(n:\n", "\ud800", "", "   return 5", "x" * 3_000_000], ids=repr)
def test_programs_that_are_no_python(program: str, box: Sandbox) -> None:
    assert run(box, program).status == "failed"
