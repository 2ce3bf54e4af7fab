"""Kill -9 of every part of an evolve run on a cluster: the same data set in the end, and nothing paid twice but what flew.

``EVOLCODER_KILLS=20`` tries so many moments for each part.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cluster.kills import IN_FLIGHT, ROWS

pytestmark = pytest.mark.cluster
MOMENTS = int(os.environ.get("EVOLCODER_KILLS", "1"))


@pytest.mark.timeout(300 + 120 * MOMENTS)
@pytest.mark.parametrize("victim", ["driver", "worker", "limits", "board", "node"])
def test_a_kill_changes_nothing_and_costs_what_was_in_flight(victim: str, tmp_path: Path) -> None:
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, str(Path(__file__).with_name("kills.py")), victim, str(MOMENTS), str(tmp_path)]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stdout[-2000:] + shown.stderr[-2000:]
    unbroken, *killed = [json.loads(line) for line in shown.stdout.splitlines() if line.startswith("{")]
    assert unbroken["answered_again"] == 0
    assert len(killed) == MOMENTS
    for run in killed:
        assert run["code"] == 0, run
        assert run["hashes"] == unbroken["hashes"], run
        assert run["distinct"] == 2 * ROWS
        assert run["answered_again"] <= IN_FLIGHT, run
