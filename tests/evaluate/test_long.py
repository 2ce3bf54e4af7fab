"""What takes minutes: the same verdicts as evalplus, whatever else the machine does, and after a kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evolcoder.evaluate.benchmarks import benchmark_named
from evolcoder.evaluate.judge import Job, Submission, judge
from evolcoder.evaluate.measurement import box_settings
from evolcoder.sandbox.box import Sandbox
from evolcoder.settings.run import EvaluateSettings

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.mark.parametrize(("benchmark", "mutants_a_task", "every"), [("humaneval+", 2, 1), ("mbpp+", 1, 3)])
def test_the_same_verdicts_as_evalplus(data_folder: Path, benchmark: str, mutants_a_task: int, every: int) -> None:
    from benchmarks.parity import compare

    count, statuses, differences = compare(benchmark, mutants_a_task, every)
    assert [d for d in differences if not d.reason] == []
    assert statuses["infra_error"] == 0
    assert count > 250
    assert statuses["passed"] < count * 0.8, "the mutants are wrong programs"


@pytest.fixture
def busy_machine() -> Iterator[None]:
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    yield
    for process in spinning:
        process.kill()
        process.wait()


def test_a_busy_machine_changes_no_verdict(data_folder: Path, busy_machine: None) -> None:
    benchmark = benchmark_named("humaneval+")
    with Sandbox(box_settings(EvaluateSettings(), benchmark)) as box:
        jobs = [Job(benchmark, p, 0, Submission("completion", p.canonical_solution)) for p in benchmark.problems()]
        verdicts = [judge(box, job) for job in jobs]
    assert [(v.task_id, v.status, v.detail) for v in verdicts if v.status != "passed"] == []


EVALUATE = [
    sys.executable, "-m", "evolcoder.cli", "evaluate",
    "--model", "oracle", "--style", "base", "--benchmark", "humaneval",
]  # fmt: skip
SAMPLED = ["evaluate.samples=5", "evaluate.temperature=0.2", "evaluate.workers=2"]


def test_after_kill_9_the_same_command_ends_with_the_same_score(oracle: Any, tmp_path: Path) -> None:
    """164 x 5 answers; a third of the programs are wrong. What was answered is not asked again."""

    def answer(problem: Any) -> str:
        time.sleep(0.02)
        wrong = int(problem.task_id.removeprefix("HumanEval/")) % 3 == 0
        return "    return None\n" if wrong else str(problem.canonical_solution)

    oracle.answer = answer
    environment = {**os.environ, "EVOLCODER_CACHE": str(tmp_path / "cache")}

    def start(out: Path) -> subprocess.Popen[bytes]:
        command = [*EVALUATE, "--endpoint", oracle.endpoint.base_url, "--out", str(out), *SAMPLED]
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)

    assert start(tmp_path / "unbroken").wait(300) == 0
    oracle.requests.clear()
    for answered in (150, 500):
        process = start(tmp_path / "broken")
        while len(oracle.requests) < answered:
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        while _alive(process.pid):  # Ray's processes end by themselves once their driver is gone
            time.sleep(0.2)
    assert not (tmp_path / "broken" / "score.json").exists()
    assert start(tmp_path / "broken").wait(300) == 0

    unbroken, broken = (json.loads((tmp_path / name / "score.json").read_text()) for name in ("unbroken", "broken"))
    same = ("pass@1", "value", "interval", "tasks", "samples", "statuses", "settings")
    assert {key: broken[key] for key in same} == {key: unbroken[key] for key in same}
    assert broken["statuses"] == {"passed": 545, "failed": 275}
    in_flight = 2 * 32
    assert 820 <= len(oracle.requests) <= 820 + in_flight


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
