"""Calls a second, CPU and memory of the evolve stage, against three peers on the same work, in one run: curator, distilabel and
NeMo Data Designer.

    python -m benchmarks.evolve [--rows 20000] [--curve 1000,5000] [--only evolcoder,curator]

The work: for each row one call that evolves its task, then one call that answers what came back, both to the scripted
teacher, which takes 0.2 s a reply; at most 256 requests are in flight, so that 1,280 calls a second are ideal. Everyone
keeps replies on disk as they do by default: evolcoder its journal, curator its cache, distilabel its own, Data Designer
its rows. ``evolcoder-openai`` is with ``teacher.transport: openai``. The rate is that of all calls between the first
request and the last reply; CPU and memory are those of the whole process tree, start-up, checks and writing included.
Peers run in virtual environments of their own, made at the first use. ``evolcoder-faults`` is the same work with a
teacher of whose replies 10 % are a 429 with Retry-After, 5 % a 500, 1 % a dropped connection and 1 % a page of HTML.
Each try may meet them, but who waits as long as Retry-After says meets no 429 the next time: 1.192 requests a call are
to be expected, and more of a client that comes early.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from benchmarks.common import PEERS, parser, peer_interpreter, print_header, print_row

from evolcoder.endpoint.scripted.server import Script
from evolcoder.evolve.rules.operators import OPERATORS
from evolcoder.storage.hashes import stable_hash

CONCURRENCY = 256
LATENCY_SECONDS = 0.2
MODEL = Script.model
PACKAGES = {
    "curator": ["bespokelabs-curator==0.1.31"],
    "distilabel": ["distilabel[openai]==1.5.3", "requests"],
    "data_designer": ["data-designer==0.9.7"],
}
FAULTS = {"retry_after": 0.1, "error_500": 0.05, "dropped": 0.01, "html": 0.01}
POLL_SECONDS = 0.25


@dataclass
class Measured:
    """What one tool took. ``seconds`` are from the first request to the last reply."""

    calls: int = 0
    requests: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    whole_seconds: float = 0.0
    pids: dict[int, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return self.calls / self.seconds

    def row(self, name: str, rows: int) -> list[str]:
        return [
            name, f"{rows:,}", f"{self.calls:,}", f"{self.seconds:.1f} s", f"{self.rate:.0f}",
            f"{self.rate * LATENCY_SECONDS / CONCURRENCY:.2f}", f"{1000 * self.cpu_seconds / self.calls:.2f} ms",
            f"{self.peak_bytes / 1e6:.0f} MB", f"{self.whole_seconds:.0f} s",
        ]  # fmt: skip


COLUMNS = ["", "rows", "calls", "calling", "calls/s", "of ideal", "CPU a call", "peak memory", "whole command"]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=20_000)
    arguments.add_argument("--curve", default="1000,5000", help="also measure evolcoder alone with these numbers of rows")
    arguments.add_argument("--only", default="evolcoder,evolcoder-openai,curator,distilabel,data_designer")
    given = arguments.parse_args()
    names = given.only.split(",")
    print_header(*COLUMNS)
    for rows in [int(text) for text in given.curve.split(",") if text]:
        print_row(*measure("evolcoder", rows).row("evolcoder", rows))
    found: dict[str, Measured] = {}
    for name in names:
        found[name] = measure(name, given.rows)
        print_row(*found[name].row(name, given.rows))
    if "evolcoder-faults" in found:
        faulty = found.pop("evolcoder-faults")
        print(f"\nevolcoder-faults sent {faulty.requests / faulty.calls:.3f} requests a call; no row was left without a reply.")
    if "evolcoder" in found:
        for name in list(found)[1:]:
            print(f"\nevolcoder's rate is {found['evolcoder'].rate / found[name].rate:.2f} times that of {name}.")


def measure(name: str, rows: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder, _teacher(FAULTS if name == "evolcoder-faults" else {}) as base_url:
        seeds = _write_seeds(Path(folder), rows)
        command, environment = _command(name, Path(folder), seeds, base_url)
        log = Path(folder) / "log"
        started = time.perf_counter()
        with open(log, "wb") as stream:
            process = subprocess.Popen(command, env=environment, stdout=stream, stderr=subprocess.STDOUT, cwd=folder)
            measured = _watch(process, base_url, 2 * rows)
        measured.whole_seconds = time.perf_counter() - started
        if process.returncode != 0:
            sys.exit(f"{name} failed:\n{log.read_text()[-3000:]}")
        return measured


def _watch(process: subprocess.Popen[bytes], base_url: str, calls: int) -> Measured:
    measured = Measured()
    first = last = 0.0
    sampler = threading.Thread(target=_sample, args=(process.pid, measured), daemon=True)
    sampler.start()
    while process.poll() is None:
        time.sleep(POLL_SECONDS)
        now, answered, requests = time.perf_counter(), *_counts(base_url)
        first = first or (now if requests else 0.0)
        if answered > measured.calls:
            measured.calls, measured.requests, last = answered, requests, now
    sampler.join()
    measured.seconds = last - first
    measured.cpu_seconds = sum(measured.pids.values())
    return measured


def _sample(pid: int, measured: Measured) -> None:
    """Follow the process tree until its root is gone: the CPU time of all that ever was in it, its most memory at once."""
    root = psutil.Process(pid)
    while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
        total = 0
        try:
            tree = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for one in tree:
            try:
                times = one.cpu_times()
                measured.pids[one.pid] = max(measured.pids.get(one.pid, 0.0), times.user + times.system)
                total += one.memory_full_info().uss
            except psutil.Error:
                continue  # it ended in between
        measured.peak_bytes = max(measured.peak_bytes, total)
        time.sleep(1.0)


def _counts(base_url: str) -> tuple[int, int]:
    with urllib.request.urlopen(base_url.removesuffix("/v1") + "/counts", timeout=30) as response:
        counts = json.load(response)
    return counts["answered"], counts["requests"]


@contextmanager
def _teacher(faults: Mapping[str, float]) -> Iterator[str]:
    command = [
        sys.executable,
        "-m",
        "evolcoder.endpoint.scripted",
        "--port",
        "0",
        "--latency-seconds",
        str(LATENCY_SECONDS),
    ]
    command += [part for name, share in faults.items() for part in ("--fault", f"{name}={share}")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _write_seeds(folder: Path, rows: int) -> Path:
    """Different tasks of 40 words, each with its prompt for the peers."""
    script = Script(seed=1)
    path = folder / "seeds.jsonl"
    with path.open("w") as stream:
        for number in range(rows):
            task = script.text(stable_hash(str(number)))
            row = {"instruction": task, "output": "pass", "prompt": OPERATORS["constraints"].prompt(task)}
            stream.write(json.dumps(row) + "\n")
    return path


def _command(name: str, folder: Path, seeds: Path, base_url: str) -> tuple[Sequence[str], dict[str, str]]:
    environment = {**os.environ, "OPENAI_API_KEY": "none"}
    if name.startswith("evolcoder"):
        run = folder / "run.yaml"
        run.write_text(
            json.dumps(
                {
                    "name": "bench",
                    "storage": str(folder / "runs"),
                    "seeds": {"path": str(seeds)},
                    "teacher": {
                        "base_url": base_url,
                        "model": MODEL,
                        "max_concurrency": CONCURRENCY,
                        "transport": "openai" if name == "evolcoder-openai" else "aiohttp",
                    },
                    "evolve": {"rounds": 1},
                }
            )
        )
        return [sys.executable, "-m", "evolcoder.cli", "evolve", str(run)], environment
    script = PEERS / f"{name}_run.py"
    environment |= {"HOME": str(folder), "CURATOR_CACHE_DIR": str(folder / "curator")}
    environment |= {"TELEMETRY_ENABLED": "false", "NEMO_TELEMETRY_ENABLED": "false"}
    return [str(peer_interpreter(PACKAGES[name])), str(script), base_url, MODEL, str(seeds), str(CONCURRENCY)], environment


if __name__ == "__main__":
    main()
