"""Boxes under another interpreter: its packages, and what is warm in it."""

from __future__ import annotations

import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

from evolcoder.errors import SandboxError
from evolcoder.sandbox.box import BoxSettings, Sandbox
from evolcoder.sandbox.checked import self_check
from evolcoder.sandbox.isolation import Interpreter
from evolcoder.sandbox.outcomes import ProgramRaised

STARTS_A_THREAD = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
SOURCE = """
import os, sys

def look():
    return "greeting" in sys.modules, os.environ.get("GREETING"), sorted(os.listdir("/proc/self"))

def greet():
    import greeting
    return greeting.WORD

def spoil(path):
    open(path, "w")
"""


@pytest.fixture
def interpreter(tmp_path: Path) -> Interpreter:
    """This Python with packages of its own."""
    packages, shown = tmp_path / "packages", tmp_path / "shown"
    for folder in (packages, shown):
        folder.mkdir()
    (packages / "greeting.py").write_text("WORD = 'hello'\n")
    (packages / "restless.py").write_text(STARTS_A_THREAD)
    (shown / "data.txt").write_text("data")
    return Interpreter(
        executable=Path(sys.executable).resolve(),
        base_prefix=Path(sys.base_prefix).resolve(),
        standard_library=Path(sysconfig.get_path("stdlib")).resolve(),
        site_packages=packages,
        warm_modules=("greeting",),
        folders=(("SHOWN", shown),),
        environment=(("GREETING", "set"),),
    )


def test_programs_find_its_packages_warm_and_its_environment(interpreter: Interpreter) -> None:
    with Sandbox(BoxSettings(interpreter=interpreter)) as box:
        self_check(box)
        with box.start(SOURCE) as program:
            assert program.function("look")() == (True, "set", ["cmdline", "exe", "maps"])
            assert program.function("greet")() == "hello"


def test_its_folders_are_shown_and_cannot_be_written(interpreter: Interpreter) -> None:
    with Sandbox(BoxSettings(interpreter=interpreter)) as box, box.start(SOURCE) as program:
        path = program.evaluate("os.environ['SHOWN'] + '/data.txt'")
        assert program.evaluate(f"open({path!r}).read()") == "data"
        for target in (path, "/packages/greeting.py", "/tmp/../packages/new.py"):
            with pytest.raises(ProgramRaised, match=r"Read-only file system|Permission denied"):
                program.function("spoil")(target)


def test_what_was_warmed_leaves_no_file_to_programs(interpreter: Interpreter) -> None:
    (interpreter.site_packages / "writes.py").write_text("open('/tmp/left', 'w').write('by the warm parent')\n")
    settings = BoxSettings(interpreter=replace(interpreter, warm_modules=("writes",)))
    with Sandbox(settings) as box, box.start(SOURCE) as program:
        assert program.evaluate("os.listdir('/tmp')") == []


def test_a_module_that_starts_threads_cannot_be_warm(interpreter: Interpreter) -> None:
    with pytest.raises(SandboxError, match="restless started threads"):
        Sandbox(BoxSettings(interpreter=replace(interpreter, warm_modules=("restless",))))


def test_a_module_that_is_not_there_is_told(interpreter: Interpreter) -> None:
    with pytest.raises(SandboxError, match="No module named 'absent'"):
        Sandbox(BoxSettings(interpreter=replace(interpreter, warm_modules=("absent",))))
