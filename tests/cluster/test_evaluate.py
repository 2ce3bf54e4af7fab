"""Judging over several nodes, one of which goes away in the middle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster

SCRIPT = """
import json, sys, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from evolcoder.console import Reporter
from evolcoder.evaluate.pipeline import evaluate_samples
from evolcoder.run.folder import Folder
from evolcoder.settings.run import EvaluateSettings

folder = Path(sys.argv[1])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 100_000_000})
nodes = [cluster.add_node(num_cpus=1, object_store_memory=100_000_000) for _ in range(2)]
ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)

def judged():
    log = folder / "out" / "judged.jsonl"
    return len(log.read_text().splitlines()) if log.exists() else 0

def remove_a_node():
    while judged() < 10:
        time.sleep(0.05)
    print("REMOVED after", judged(), flush=True)
    cluster.remove_node(nodes[0], allow_graceful=False)

thread = threading.Thread(target=remove_a_node)
thread.start()
out = Folder.open(folder / "out")
evaluate_samples(folder / "samples.jsonl", "humaneval", "none", out, EvaluateSettings(), Reporter("json"))
thread.join()
ray.shutdown()
cluster.shutdown()
"""


def test_a_node_that_goes_away_costs_no_verdict(tmp_path: Path) -> None:
    from evolcoder.evaluate.benchmarks.humaneval import HumanEval

    problems = HumanEval().problems()[:40]
    slow = "import time; time.sleep(0.3)\n"
    rows = [{"task_id": p.task_id, "solution": slow + p.prompt + p.canonical_solution} for p in problems]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    shown = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert shown.returncode == 0, shown.stdout[-2000:] + shown.stderr[-2000:]
    removed_after = int(shown.stdout.partition("REMOVED after ")[2].split()[0])
    assert 10 <= removed_after < 40, "both nodes were at work, and one of them went away"
    score = json.loads((tmp_path / "out" / "score.json").read_text())
    assert score["statuses"] == {"passed": 40}
