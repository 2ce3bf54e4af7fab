"""Judging on Ray when things go wrong around it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from evolcoder.errors import SandboxError
from evolcoder.evaluate.benchmarks import benchmark_named
from evolcoder.evaluate.benchmarks.base import Problem
from evolcoder.evaluate.execution import judges
from evolcoder.evaluate.judge import Job, Submission
from evolcoder.records import Verdict
from evolcoder.sandbox.box import BoxSettings

pytestmark = pytest.mark.slow

PROBLEM = Problem(
    task_id="Test/0",
    prompt='def double(x):\n    """Twice x."""\n',
    entry_point="double",
    canonical_solution="    return 2 * x\n",
    test="def check(candidate):\n    assert candidate(4) == 8\n",
)


def job(sample: int, body: str = "    return 2 * x\n") -> Job:
    return Job(benchmark_named("humaneval"), PROBLEM, sample, Submission("completion", body))


def own_judges() -> list[int]:
    """The processes of judging actors below this test's own Ray."""
    parents, judging = {}, []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if b"_JudgeActor" in (entry / "cmdline").read_bytes():
                    judging.append(int(entry.name))
            except (OSError, ValueError):
                continue

    def is_ours(pid: int) -> bool:
        while pid > 1:
            if pid == os.getpid():
                return True
            pid = parents.get(pid, 0)
        return False

    return [pid for pid in judging if is_ours(pid)]


def test_a_judge_that_dies_is_replaced_and_its_program_judged_again(local_ray: None) -> None:
    async def run() -> list[Verdict]:
        async with judges(BoxSettings(), 1) as judge:
            first = await judge(job(0))
            (pid,) = own_judges()
            waiting = asyncio.create_task(judge(job(1, "    import time; time.sleep(1.5); return 2 * x\n")))
            await asyncio.sleep(0.3)
            os.kill(pid, signal.SIGKILL)
            return [first, await waiting, await judge(job(2, "    return x\n"))]

    assert [verdict.status for verdict in asyncio.run(run())] == ["passed", "passed", "failed"]


def test_no_sandbox_is_one_sentence_from_far_away_too(local_ray: None) -> None:
    async def run() -> None:
        async with judges(BoxSettings(packages=("not_there",)), 1):
            pytest.fail("programs would be run")

    with pytest.raises(SandboxError, match=r"^Programs are to have the package not_there.*pip install not_there`\.$"):
        asyncio.run(run())
