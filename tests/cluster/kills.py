"""Kills a part of running evolve runs on a cluster of three nodes: ``kills.py VICTIM MOMENTS FOLDER``.

VICTIM is driver, worker, limits, board or node. For each moment, drawn under a seed, a run of its own is started, hit once
when the teacher has given so many answers, and started again if it ended by that. Prints a line of JSON for each: what
the teacher counted, and the hashes that the run ended with; first those of a run that nothing happened to.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster

from evolcoder.endpoint.scripted.server import Script, ScriptedTeacher, scripted_teacher

ROWS = 40
IN_FLIGHT = 8
DRIVER = Path(__file__).parents[1] / "evolve" / "driver.py"
TITLES = {"worker": "MapWorker", "limits": "LimitsActor", "board": "Board"}


def main() -> None:
    victim, moments, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    seeds = folder / "seeds.jsonl"
    rows = [{"instruction": f"Write a function that adds {n}.", "input": "", "output": f"x + {n}"} for n in range(ROWS)]
    seeds.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    small = {"object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **small})
    nodes = [cluster.add_node(num_cpus=1, **small) for _ in range(2)]
    os.environ["RAY_ADDRESS"] = cluster.address
    try:
        with scripted_teacher(Script(latency_seconds=0.2)) as teacher:
            process = _start(folder / "unbroken", seeds, teacher)
            _tell("unbroken", teacher, *_end(process))
        draw = random.Random(f"{victim} 0")
        for number in range(moments):
            moment = draw.randrange(1, 2 * ROWS)
            with scripted_teacher(Script(latency_seconds=0.2)) as teacher:
                place = folder / f"{victim}-{number}"
                process = _start(place, seeds, teacher)
                _wait(process, teacher, moment)
                if victim == "driver":
                    process.kill()
                elif victim == "node":
                    gone = nodes.pop(draw.randrange(len(nodes)))
                    cluster.remove_node(gone, allow_graceful=False)
                    nodes.append(cluster.add_node(num_cpus=1, **small))
                else:
                    os.kill(draw.choice(_processes(TITLES[victim])), signal.SIGKILL)
                code, out = _end(process)
                if victim == "driver":
                    code, out = _end(_start(place, seeds, teacher))
                _tell(moment, teacher, code, out)
    finally:
        cluster.shutdown()


def _start(storage: Path, seeds: Path, teacher: ScriptedTeacher) -> subprocess.Popen[str]:
    settings = {
        "name": "r",
        "storage": str(storage),
        "seeds": {"path": str(seeds)},
        "teacher": {"base_url": teacher.base_url, "model": Script.model, "max_tokens": 200, "max_concurrency": IN_FLIGHT},
        "evolve": {"rounds": 1, "workers": 2, "rows_per_shard": 10},
    }
    command = [sys.executable, str(DRIVER), json.dumps(settings), teacher.base_url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _wait(process: subprocess.Popen[str], teacher: ScriptedTeacher, answers: int) -> None:
    while teacher.counts()["answered"] < answers:
        if process.poll() is not None:
            raise SystemExit(f"ended too early: {process.communicate()[0][-3000:]}")
        time.sleep(0.01)


def _end(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, _ = process.communicate(timeout=300)
    return process.returncode, out


def _processes(title: str) -> list[int]:
    """Those of that title, as soon as there are any: an actor may have been asked for and not be up yet."""
    give_up = time.monotonic() + 30
    while not (found := _processes_now(title)):
        if time.monotonic() > give_up:
            raise SystemExit(f"no process is a {title}")
        time.sleep(0.05)
    return found


def _processes_now(title: str) -> list[int]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            name = process.cmdline()[0]
        except (psutil.Error, IndexError):
            continue
        if name.startswith("ray::") and title in name:
            found.append(process.pid)
    return found


def _tell(moment: object, teacher: ScriptedTeacher, code: int, out: str) -> None:
    ended: dict[str, Any] = {"moment": moment, "code": code, **teacher.counts()}
    ended["hashes" if code == 0 else "said"] = json.loads(out.splitlines()[-1]) if code == 0 else out[-2000:]
    print(json.dumps(ended), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
