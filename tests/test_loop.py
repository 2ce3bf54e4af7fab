"""The whole loop as its user runs it, with a scripted teacher and as little work as each stage can have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evolcoder.endpoint.scripted.server import Script, scripted_teacher

pytestmark = pytest.mark.slow

SMALL = [
    "seeds.limit=4", "evolve.rounds=1", "train.max_steps=1", "train.global_batch_size=2", "train.micro_batch_size=2",
    "train.sequence_length=128", "train.warmup_steps=0", "evaluate.limit=2", "evaluate.max_tokens=16",
]  # fmt: skip


def evolcoder(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "evolcoder.cli", *arguments]
    return subprocess.run(command, cwd=cwd, env=dict(os.environ), capture_output=True, text=True, timeout=540)


def test_the_loop_ends_in_a_report_and_a_second_run_does_nothing_again(tmp_path: Path) -> None:
    assert evolcoder("init", "loop", "--preset", "laptop", cwd=tmp_path).returncode == 0
    with scripted_teacher(Script()) as teacher:
        study = ["study", "loop.yaml", f"teacher.base_url={teacher.base_url}", "teacher.model=scripted-teacher", *SMALL]
        first = evolcoder(*study, cwd=tmp_path)
        assert first.returncode == 0, first.stderr
        asked = teacher.counts()["requests"]
        second = evolcoder(*study, cwd=tmp_path)
        assert second.returncode == 0, second.stderr
        assert teacher.counts()["requests"] == asked == 8

    run = tmp_path / "runs" / "loop"
    evidence = json.loads((run / "report" / "report.json").read_text())
    assert [score["role"] for score in evidence["scores"]] == ["base", "tuned"]
    assert [score["style"] for score in evidence["scores"]] == ["chat", "wizardcoder"]
    assert all(score["tasks"] == 2 for score in evidence["scores"])
    assert len(evidence["training"]["steps"]) == 1
    assert (run / "report" / "report.html").stat().st_size > 10_000
    for sentence in ("no request is sent", "nothing is trained again", "no question is asked again", "left as it is"):
        assert sentence in second.stdout
        assert sentence not in first.stdout
    assert "Traceback" not in first.stderr + second.stderr
