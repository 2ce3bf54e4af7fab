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
    "seeds.limit=4", "train.max_steps=1", "train.global_batch_size=2", "train.micro_batch_size=2",
    "train.sequence_length=128", "train.warmup_steps=0", "evaluate.limit=2", "evaluate.max_tokens=16",
]  # fmt: skip


def evolcoder(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "evolcoder.cli", *arguments]
    return subprocess.run(command, cwd=cwd, env=dict(os.environ), capture_output=True, text=True, timeout=1500)


def test_the_loop_ends_in_a_report_and_a_second_run_does_nothing_again(tmp_path: Path) -> None:
    assert evolcoder("init", "loop", "--preset", "laptop", cwd=tmp_path).returncode == 0
    with scripted_teacher(Script()) as teacher:
        study = [
            "study",
            "loop.yaml",
            f"teacher.base_url={teacher.base_url}",
            "teacher.model=scripted-teacher",
            "evolve.rounds=1",
            *SMALL,
        ]
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
    assert [len(training["steps"]) for training in evidence["trainings"]] == [1]
    assert (run / "report" / "report.html").stat().st_size > 10_000
    for sentence in ("no request is sent", "nothing is trained again", "no question is asked again", "left as it is"):
        assert sentence in second.stdout
        assert sentence not in first.stdout
    assert "Traceback" not in first.stderr + second.stderr


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_study_that_decides_how_many_rounds_there_are_ends_and_a_second_run_does_nothing_again(
    tmp_path: Path, data_folder: Path
) -> None:
    assert evolcoder("init", "loop", "--preset", "laptop", cwd=tmp_path).returncode == 0
    auto = ["evolve.rounds=auto", "evolve.max_rounds=1", "study.alone=true"]
    with scripted_teacher(Script()) as teacher:
        own = [f"teacher.base_url={teacher.base_url}", "teacher.model=scripted-teacher", *SMALL, *auto]
        first = evolcoder("study", "loop.yaml", *own, cwd=tmp_path)
        assert first.returncode == 0, first.stderr
        asked = teacher.counts()["requests"]
        second = evolcoder("study", "loop.yaml", *own, cwd=tmp_path)
        assert second.returncode == 0, second.stderr
        assert teacher.counts()["requests"] == asked == 8
    assert "evolution ends and round 0, the best so far, is taken" in first.stdout
    assert "Ray" not in first.stderr
    for sentence in ("no request is sent", "nothing is trained again", "no question is asked again", "left as it is"):
        assert sentence in second.stdout
    assert "steps of" not in second.stdout

    run = tmp_path / "runs" / "loop"
    decisions = json.loads((run / "evol_stop" / "decisions.json").read_text())
    assert [(one["after_round"], one["go_on"], one["best_round"]) for one in decisions["decisions"]] == [
        (0, True, 0), (1, False, 0),
    ]  # fmt: skip
    assert {place.name for place in (run / "train").iterdir()} == {"0", "1", "round-1"}
    merged = json.loads((run / "dataset" / "manifest.json").read_text())
    assert set(merged["inputs"]) == {"round 00"}, "those up to the best"
    shown = evolcoder("status", "loop.yaml", *own, "--watch", "--output", "json", cwd=tmp_path)
    states = {row["stage"]: row["state"] for row in json.loads(shown.stdout.splitlines()[0])["rows"]}
    assert set(states.values()) == {"done"}, states
    assert {"Evol Stop", "tuned: train on round 0", "evaluate rounds-0-1 on mbpp-dev"} <= states.keys()
    scores = json.loads((run / "report" / "report.json").read_text())["scores"]
    assert {(score["role"], score["benchmark"]) for score in scores} >= {("tuned", "humaneval"), ("rounds-0", "mbpp-dev")}
