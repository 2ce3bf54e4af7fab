"""The run folder: its settings, and one process a stage."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evolcoder.errors import RunBusyError
from evolcoder.run.folder import RunFolder
from evolcoder.settings.run import RunSettings


def run_folder(tmp_path: Path) -> RunFolder:
    return RunFolder.open(RunSettings(name="r", storage=str(tmp_path)))


def test_the_settings_as_resolved_can_be_run_again(tmp_path: Path) -> None:
    from evolcoder.settings.files import load_preset, load_settings

    wanted = load_preset("wizardcoder-15b", "r", [f"storage={tmp_path}"])
    RunFolder.open(wanted).write_settings(wanted)
    assert load_settings(tmp_path / "r" / "run.yaml") == wanted


def test_one_stage_is_run_by_one_process_and_others_by_others(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    with run.lock("evolve"):
        with run.lock("train"):
            pass
        with pytest.raises(RunBusyError, match=rf"Process {os.getpid()} is already running evolve"), run.lock("evolve"):
            pytest.fail("two held it")
    with run.lock("evolve"):
        pass


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from evolcoder.run.folder import RunFolder\n"
        "from evolcoder.settings.run import RunSettings\n"
        "with RunFolder.open(RunSettings(name='r', storage=sys.argv[1])).lock('evolve'):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=60)
    assert ended.returncode == -9
    with run_folder(tmp_path).lock("evolve"):
        pass


def test_a_fault_inside_a_lock_is_not_blamed_on_the_disk(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="the teacher"), run_folder(tmp_path).lock("evolve"):
        raise ConnectionError("the teacher is gone")
