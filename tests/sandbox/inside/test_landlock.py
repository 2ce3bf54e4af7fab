"""The level landlock: which rights by which kernel, what its filter refuses, and what holds of it in a real box."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evolcoder.sandbox.box import BoxSettings, Sandbox
from evolcoder.sandbox.checked import self_check
from evolcoder.sandbox.inside import landlock
from evolcoder.sandbox.inside.confine import shared_filter_program
from evolcoder.sandbox.isolation import ResourceLimits
from evolcoder.sandbox.outcomes import ProgramEnded, ProgramRaised

needs_landlock = pytest.mark.skipif(landlock.version() == 0, reason="this kernel has no Landlock")
LIMITS = ResourceLimits(import_cpu_seconds=2, call_cpu_seconds=2, task_cpu_seconds=4, memory_bytes=512 << 20, tmp_bytes=4 << 20)


@pytest.mark.parametrize(
    ("abi", "files", "network", "scopes", "size", "own_more"),
    [
        (1, 0x1FFF, 0, 0, 8, 0),
        (2, 0x3FFF, 0, 0, 8, 0x2000),
        (3, 0x7FFF, 0, 0, 8, 0x6000),
        (4, 0x7FFF, 3, 0, 16, 0x6000),
        (5, 0xFFFF, 3, 0, 16, 0x6000),
        (6, 0xFFFF, 3, 3, 24, 0x6000),
        (7, 0xFFFF, 3, 3, 24, 0x6000),
        (9, 0xFFFF, 3, 3, 24, 0x6000),
    ],
)
def test_every_kernel_is_asked_for_all_it_can_refuse(
    abi: int, files: int, network: int, scopes: int, size: int, own_more: int
) -> None:
    rights = landlock.rights(abi)
    assert (rights.handled_files, rights.handled_network, rights.scopes) == (files, network, scopes)
    assert rights.attribute_bytes == size
    assert rights.own_folder == 0x11BE | own_more
    assert rights.restrict_flags == (1 if abi >= 7 else 0)
    for granted in (rights.own_folder, rights.readable_folder, rights.readable_file, rights.device):
        assert granted & ~files == 0, "the kernel refuses rules with rights that it does not know"
    assert not (rights.readable_folder | rights.readable_file) & ~0b1100, "to read and to list, no more"
    assert not rights.own_folder & 1, "nothing may be executed"


def test_no_landlock_is_an_error() -> None:
    with pytest.raises(OSError, match=r"no Landlock \(Linux 5\.13"):
        landlock.rights(0)


def test_what_is_around_a_hidden_folder_is_granted_and_it_is_not(tmp_path: Path) -> None:
    for name in ("lib/json", "lib/site-packages/secret", "lib/deep/er/site-packages", "lib/deep/other", "data"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lib/os.py").touch()
    (tmp_path / "lib/link").symlink_to(tmp_path / "data")
    hidden = [tmp_path / "lib/site-packages", tmp_path / "lib/deep/er/site-packages"]
    granted = [str(path.relative_to(tmp_path)) for path in landlock.around(tmp_path / "lib", hidden)]
    assert granted == ["lib/deep/other", "lib/json", "lib/os.py"]
    assert landlock.around(tmp_path / "data", hidden) == [tmp_path / "data"]
    assert landlock.around(tmp_path / "lib/site-packages", hidden) == []


ME = 4321
ALLOW = 0x7FFF0000
EPERM, ENOSYS, ENOTTY, EOPNOTSUPP = 0x50001, 0x50026, 0x50019, 0x5005F
MACHINES = {"x86_64": 0, "aarch64": 1}


def answer(machine: str, number: int, *arguments: int) -> int:
    """What the filter says, by an interpreter of the few instructions that it uses."""
    data = struct.pack("=iIQ6Q", number, 0, 0, *[a & (1 << 64) - 1 for a in arguments], *[0] * (6 - len(arguments)))
    program = shared_filter_program(machine, ME)
    place, word = 0, 0
    while True:
        code, if_true, if_false, value = struct.unpack_from("=HBBI", program, 8 * place)
        place += 1
        if code == 0x20:
            (word,) = struct.unpack_from("=I", data, value)
        elif code == 0x54:
            word &= value
        elif code == 0x15:
            place += if_true if word == value else if_false
        else:
            assert code == 0x06
            return int(value)


@pytest.mark.parametrize("machine", MACHINES)
def test_signals_go_to_oneself_only_and_not_the_last_ones(machine: str) -> None:
    kill, tgkill, queue = ((62, 234, 129), (129, 131, 138))[MACHINES[machine]]
    assert answer(machine, kill, ME, 15) == ALLOW
    for whom in (0, -1, 1, ME + 1, -ME):
        assert answer(machine, kill, whom, 15) == EPERM
        assert answer(machine, queue, whom, 15) == EPERM
    for last in (9, 19):
        assert answer(machine, kill, ME, last) == EPERM, "it would look like a fault of the machine"
        assert answer(machine, tgkill, ME, ME, last) == EPERM
    assert answer(machine, tgkill, ME, ME + 7, 10) == ALLOW, "a thread of its own"
    assert answer(machine, tgkill, ME + 1, ME + 1, 10) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_limits_and_processors_of_others_are_out_of_reach(machine: str) -> None:
    for number in ((302, 203), (261, 122))[MACHINES[machine]]:
        assert answer(machine, number, 0) == answer(machine, number, ME) == ALLOW
        assert answer(machine, number, ME - 1) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_files_are_opened_for_what_is_asked_of_landlock(machine: str) -> None:
    number = (257, 56)[MACHINES[machine]]
    for flags in (os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, os.O_RDWR | os.O_TRUNC, os.O_RDONLY | os.O_DIRECTORY):
        assert answer(machine, number, 0, 0, flags) == ALLOW
    for flags in (os.O_RDONLY | os.O_TRUNC, 3, 3 | os.O_TRUNC):
        assert answer(machine, number, 0, 0, flags) == EPERM
    assert answer(machine, number, 0, 0, os.O_RDWR | 0o20000000) == EOPNOTSUPP
    assert answer(machine, 437, 0, 0) == ENOSYS, "its flags are out of sight"


@pytest.mark.parametrize("machine", MACHINES)
def test_only_streams_come_in_pairs(machine: str) -> None:
    number = (53, 199)[MACHINES[machine]]
    assert answer(machine, number, 1, 1 | 0o2004000) == ALLOW
    assert answer(machine, number, 1, 2) == answer(machine, number, 1, 5) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_descriptors_are_not_used_sideways(machine: str) -> None:
    fcntl, ioctl = ((72, 16), (25, 29))[MACHINES[machine]]
    assert [answer(machine, fcntl, 3, command) for command in (1, 2, 3, 4, 1030)] == [ALLOW] * 5
    assert {answer(machine, fcntl, 3, command) for command in (8, 10, 15, 1024, 1026, 1031)} == {EPERM}
    assert [answer(machine, ioctl, 3, command) for command in (0x5401, 0x541B, 0x5421)] == [ALLOW] * 3
    assert {answer(machine, ioctl, 3, command) for command in (0x8901, 0x8902, 0x40086602, 0x5412)} == {ENOTTY}


def test_an_unknown_machine_has_no_filter() -> None:
    with pytest.raises(OSError, match="mips"):
        shared_filter_program("mips", ME)


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(BoxSettings("landlock", LIMITS, ("numpy",))) as sandbox:
        yield sandbox


def ask(box: Sandbox, body: str, *arguments: Any) -> Any:
    with box.start(f"import os\ndef f(*args):\n    {body}\n") as program:
        return program.function("f")(*arguments)


@needs_landlock
@pytest.mark.parametrize("abi", range(1, landlock.version() + 1))
def test_what_is_promised_holds_with_every_older_kernels_rights(abi: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "version", lambda: abi)
    with Sandbox(BoxSettings("landlock", LIMITS)) as sandbox:
        self_check(sandbox)
        corpus = Path(__file__).parents[1] / "hostile"
        for name in ("change_library", "read_contents", "signals_to_others", "write_outside", "network", "datagrams"):
            with sandbox.start((corpus / f"{name}.py").read_text("utf-8")) as program:
                assert program.function("solve")(3) is None, name


@needs_landlock
def test_programs_are_nobody_and_shut_in(box: Sandbox) -> None:
    with box.start(
        "import os\ndef f():\n    return os.getuid(), os.getcwd(), os.environ['HOME'], os.listdir('.')\n"
    ) as program:
        uid, folder, home, names = program.function("f")()
        host = Path(f"/proc/{program._pid}/status").read_text("ascii")
    assert uid == (65534 if os.getuid() == 0 else os.getuid())
    assert folder == home
    assert names == []
    assert "NoNewPrivs:\t1" in host
    assert "Seccomp:\t2" in host
    for kind in ("CapInh", "CapAmb"):
        assert f"{kind}:\t0000000000000000" in host
    # The one to read whatever the modes is kept where root's Python lies in a folder that is root's alone, no other.
    (effective,) = [int(line.split()[1], 16) for line in host.splitlines() if line.startswith("CapEff")]
    assert effective in (0, 4)


@needs_landlock
def test_a_folder_is_fresh_its_own_and_gone_afterwards(box: Sandbox) -> None:
    source = (
        "import os\nopen('mine', 'w').write('x')\n"
        "def where():\n    return os.getcwd()\n"
        "def read(folder):\n    return os.listdir(folder)\n"
        "def write(folder):\n    open(folder + '/left', 'w')\n"
    )
    with box.start(source) as one, box.start(source) as other:
        first, second = one.function("where")(), other.function("where")()
        assert first != second
        assert one.function("read")(first) == ["mine"]
        for place in (second, str(Path(first).parent), f"{Path(first).parent}/packages"):
            with pytest.raises(ProgramRaised, match="PermissionError"):
                one.function("write")(place)
        for place in (second, str(Path(first).parent)):
            with pytest.raises(ProgramRaised, match="PermissionError"):
                one.function("read")(place)
    assert box._folder is not None
    assert [path.name for path in box._folder.iterdir()] == ["packages"]


@needs_landlock
def test_a_closed_box_leaves_no_folder() -> None:
    with Sandbox(BoxSettings("landlock", LIMITS)) as sandbox:
        folder = sandbox._folder
        assert folder is not None
        assert folder.is_dir()
    assert not folder.exists()


@needs_landlock
def test_the_folder_of_a_box_that_was_killed_goes_too() -> None:
    """Also where nobody closes it: Ray kills an actor and its children at one stroke."""
    script = (
        "import os, signal\nfrom evolcoder.sandbox.box import BoxSettings, Sandbox\n"
        "box = Sandbox(BoxSettings('landlock'))\n"
        'program = box.start(\'open("left", "w")\\nimport threading\\nthreading.Event()\')\n'
        "print(box._folder, flush=True)\nos.kill(box._process.pid, signal.SIGKILL)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=False)
    folder = Path(done.stdout.strip())
    assert folder.name.startswith("evolcoder-box-")
    for _ in range(500):
        if not folder.exists():
            break
        time.sleep(0.02)
    assert not folder.exists()


@needs_landlock
def test_temporary_files_are_bounded_together(box: Sandbox) -> None:
    source = (
        "import pathlib, time\n"
        "def f():\n    for n in range(1000):\n"
        "        pathlib.Path(f'f{n}').write_bytes(bytes(1 << 20))\n        time.sleep(0.01)\n"
    )
    with box.start(source) as program, pytest.raises(ProgramEnded, match="temporary files took more than 4194304 bytes"):
        program.function("f")()


@needs_landlock
def test_honest_programs_find_what_they_need(box: Sandbox) -> None:
    for body, expected in {
        "import asyncio; return asyncio.run(asyncio.sleep(0, 5))": 5,
        "import tempfile; file = tempfile.TemporaryFile(); return file.write(b'xy')": 2,
        "import tempfile\n    with tempfile.TemporaryDirectory() as d: os.rename(open(d + '/a', 'w').name, 'a'); return 1": 1,
        "import sqlite3, csv, zipfile, urllib.parse, xml.etree.ElementTree; return 1": 1,
        "import numpy.linalg; return int(numpy.linalg.det(numpy.eye(3)))": 1,
        "import signal; hit = []; signal.signal(10, lambda *a: hit.append(1)); os.kill(os.getpid(), 10); return hit": [1],
        "import concurrent.futures as c; return [*c.ThreadPoolExecutor(4).map(abs, [-1, 2])]": [1, 2],
    }.items():
        assert ask(box, body) == expected


@needs_landlock
def test_packages_that_were_not_allowed_are_not_there(box: Sandbox) -> None:
    for name in ("pydantic", "pytest", "evolcoder"):
        with pytest.raises(ProgramRaised, match="ModuleNotFoundError"):
            ask(box, f"import {name}")
    pydantic = Path(str(pytest.importorskip("pydantic").__file__))
    with pytest.raises(ProgramRaised, match="PermissionError"):
        ask(box, f"open({str(pydantic)!r})")


@needs_landlock
def test_the_limits_of_the_machine_are_as_before(box: Sandbox) -> None:
    before = resource.getrlimit(resource.RLIMIT_NPROC)
    soft, hard = ask(box, "import resource; return resource.getrlimit(resource.RLIMIT_NPROC)")
    assert soft == hard <= 1 << 20
    assert resource.getrlimit(resource.RLIMIT_NPROC) == before
