"""A program finds what a new Python of its own would show it, and nothing of the evaluator's.

Each program of fresh_programs.txt is run by a plain ``python`` and at every level of the sandbox; the outcomes must agree.
"""

from __future__ import annotations

import ast
import os
import subprocess
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from evolcoder.sandbox.box import BoxSettings, Sandbox
from evolcoder.sandbox.inside import landlock
from evolcoder.sandbox.isolation import ResourceLimits
from evolcoder.sandbox.outcomes import ProgramRaised

SECTIONS = (Path(__file__).parent / "fresh_programs.txt").read_text("utf-8").split("=== ")[1:]
PROGRAMS = dict(section.split("\n", 1) for section in SECTIONS)
LIMITS = ResourceLimits(import_cpu_seconds=10, call_cpu_seconds=10, task_cpu_seconds=20)
PLAIN = """
import sys, os
out = os.fdopen(int(os.environ.pop('OUTCOME')), 'w', encoding='utf-8', errors='surrogatepass', closefd=False)
sys.argv[:] = ['program.py']
try:
    import program
    if 'f' not in vars(program):
        raise NameError('the program defines no f')
    outcome = ('returned', program.f())
except BaseException as error:
    outcome = ('raised', type(error).__name__, str(error))
print(repr(outcome), file=out, flush=True)
os._exit(0)
"""
"""Imports the program as a module, from the outermost level of the interpreter, as the sandbox says it does."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The outcome of each program in a Python of its own."""
    numpy = pytest.importorskip("numpy")
    clean = tmp_path_factory.mktemp("python")
    venv.create(clean, symlinks=True)  # an interpreter whose site-packages import nothing at the start

    def run(numbered: tuple[int, str]) -> str:
        number, name = numbered
        folder = tmp_path_factory.mktemp(f"plain-{number}")
        (folder / "program.py").write_text(PROGRAMS[name], "utf-8")
        reading, writing = os.pipe()
        environment = {
            "HOME": str(folder), "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1",
            "OUTCOME": str(writing), "OPENBLAS_NUM_THREADS": "1",
        }  # fmt: skip
        if "numpy" in PROGRAMS[name]:
            environment["PYTHONPATH"] = str(Path(numpy.__file__).parents[1])
        subprocess.run(
            [clean / "bin" / "python", "-c", PLAIN], cwd=folder, env=environment, pass_fds=(writing,), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, check=True,
        )  # fmt: skip
        os.close(writing)
        with open(reading, encoding="utf-8", errors="surrogatepass") as said:
            return said.read().strip()

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(PROGRAMS, pool.map(run, enumerate(PROGRAMS)), strict=True))


@pytest.fixture(scope="module", params=["bubblewrap", "landlock", "none"])
def box(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    if request.param == "landlock" and landlock.version() == 0:
        pytest.skip("this kernel has no Landlock")
    with Sandbox(BoxSettings(request.param, LIMITS, ("numpy",))) as sandbox:
        yield sandbox


def outcome(box: Sandbox, source: str) -> str:
    """In words, as the plain Python says it. The value is made a text inside: not all of it is plain data."""
    with box.prepare() as program:
        try:
            program.load(source)
            said: tuple[Any, ...] = ("returned", program.function("f")())
        except ProgramRaised as raised:
            said = ("raised", raised.kind, str(raised).removeprefix(raised.kind).removeprefix(": "))
    return repr(said)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_outcome_is_that_of_a_plain_python(box: Sandbox, plain: dict[str, str], name: str) -> None:
    assert outcome(box, PROGRAMS[name]) == plain[name]


def test_random_numbers_that_nobody_seeds_differ_between_programs(box: Sandbox) -> None:
    drawn = [outcome(box, "import random, uuid\ndef f(): return random.random(), uuid.uuid4().hex\n") for _ in range(5)]
    assert len(set(drawn)) == 5


def test_what_a_program_does_to_a_module_does_not_reach_the_evaluator_or_the_next(box: Sandbox) -> None:
    spoil = (
        "import json, marshal, os, socket, struct, sys\n"
        "json.dumps = json.loads = struct.pack = struct.Struct = os.getcwd = socket.socket = None\n"
        "sys.setrecursionlimit(120)\nsys.argv.append('x')\nsys.path.clear()\ndel sys.modules['json']\ndef f(): return 1\n"
    )
    look = (
        "import json, os, sys\n"
        "def f(): return json.dumps([1]), bool(os.getcwd()), sys.getrecursionlimit(), sys.argv, len(sys.path) > 1\n"
    )
    assert outcome(box, spoil) == "('returned', 1)"
    assert outcome(box, look) == "('returned', ('[1]', True, 1000, ['program.py'], True))"


def test_sources_that_are_loaded_later_have_flags_of_their_own(box: Sandbox) -> None:
    with box.prepare() as program:
        program.load("from __future__ import annotations\nimport inspect\ndef f(a: Missing): return inspect.getsource(f)\n")
        with pytest.raises(ProgramRaised, match="name 'Missing' is not defined"):
            program.load("def g(a: Missing): pass\n")
        program.load("def h(): return 2\n")
        assert program.function("f")(1) == "def f(a: Missing): return inspect.getsource(f)\n"
        assert program.evaluate("h()") == 2


def test_the_corpus_tells_outcomes_apart(plain: dict[str, str]) -> None:
    """Or all programs could fail in the same way everywhere."""
    assert len(PROGRAMS) > 150
    assert sum(said.startswith("('returned'") for said in plain.values()) > 120
    assert sum(said.startswith("('raised'") for said in plain.values()) > 30
    assert plain["annotation of a name that is nowhere"] == """('raised', 'NameError', "name 'Lisst' is not defined")"""


PACKAGE = Path(__file__).resolve().parents[2] / "platform" / "evolcoder"


def test_no_code_of_a_program_or_test_is_compiled_with_the_flags_of_ours() -> None:
    """``compile`` takes over the future imports of the file that calls it, and so do ``exec`` and ``eval`` of a text."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            where = f"{path.relative_to(PACKAGE)}:{node.lineno}"
            if node.func.id == "compile":
                assert any(keyword.arg == "dont_inherit" for keyword in node.keywords), where
            elif node.func.id in ("exec", "eval"):
                assert isinstance(node.args[0], ast.Call), f"{where}: compile the text first, with dont_inherit"
