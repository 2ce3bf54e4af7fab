"""Seconds to judge HumanEval+ and MBPP+ samples, against evalplus 0.3.1 and against the bare calls, in one run.

    EVOLCODER_DATA=... python -m benchmarks.evaluate [humaneval+] [mbpp+] [--samples references|mix]

Two sets of samples for each benchmark: the reference solutions, and a mix (the references, as many wrong mutants, and
every 20th hanging). Both evaluators use two processes, are warm (expected outputs are cached, Ray is up, packages are
imported) and take turns with the bare calls; on the references each is measured twice and the best counts. Bare is the CPU
time of the same calls on the references in this process, with no isolation and no comparison; half of it is what two
processes could reach.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import marshal
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import parser, print_header, print_row
from benchmarks.mutants import hanging, mutants

from evolcoder.cluster import ray_session
from evolcoder.evaluate.benchmarks import benchmark_named
from evolcoder.evaluate.judge import Job, Submission
from evolcoder.evaluate.measurement import box_settings
from evolcoder.problems.files import read_benchmark
from evolcoder.settings.run import EvaluateSettings

REPEATS = {"references": 2, "mix": 1}
PROCESSES = 2
HANGING_EVERY = 20
DATASETS = {"humaneval+": "humaneval", "mbpp+": "mbpp"}
EVALPLUS = """
import json, sys, time
from evalplus.evaluate import evaluate
started = time.perf_counter()
evaluate(dataset=sys.argv[1], samples=sys.argv[2], parallel=int(sys.argv[3]), i_just_wanna_run=True)
print("SECONDS", time.perf_counter() - started)
"""


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("benchmarks", nargs="*", default=list(DATASETS), metavar="BENCHMARK")
    arguments.add_argument("--samples", action="append", choices=["references", "mix"], help="only these")
    given = arguments.parse_args()
    if not os.environ.get("EVOLCODER_DATA"):
        sys.exit("Set EVOLCODER_DATA to the folder that holds the benchmarks' data.")
    print_header("benchmark", "samples", "programs", "bare CPU / 2", "evolcoder", "evalplus 0.3.1", "of bare", "speed-up")
    with tempfile.TemporaryDirectory() as folder, ray_session():
        for benchmark in given.benchmarks:
            for row in _measured(benchmark, given.samples or ["references", "mix"], Path(folder)):
                print_row(*row)


def _measured(benchmark: str, wanted: Sequence[str], folder: Path) -> Iterator[Sequence[object]]:
    references = _references(benchmark)
    _ours(benchmark, references)  # computes the expected outputs, and how long each takes
    for name in wanted:
        programs = references if name == "references" else [*references, *_wrong(benchmark)]
        samples = folder / f"{benchmark}-{name}.jsonl"
        samples.write_text("".join(json.dumps({"task_id": task, "solution": text}) + "\n" for task, text in programs))
        bare, ours, theirs = [], [], []
        for _ in range(REPEATS[name]):
            bare.append(_bare_cpu_seconds(benchmark) / PROCESSES if name == "references" else float("nan"))
            ours.append(_ours(benchmark, programs))
            theirs.append(_evalplus_seconds(benchmark, samples, folder))
        limit, best, peer = min(bare), min(ours), min(theirs)
        against_bare = ("-", f"{best:.1f} s", f"{peer:.1f} s", "-")
        if name == "references":
            against_bare = (f"{limit:.1f} s", f"{best:.1f} s", f"{peer:.1f} s", f"{best / limit:.2f}")
        yield benchmark, name, len(programs), *against_bare, f"{peer / best:.2f}"


def _references(benchmark: str) -> list[tuple[str, str]]:
    return [(p.task_id, p.prompt + p.canonical_solution) for p in benchmark_named(benchmark).problems()]


def _wrong(benchmark: str) -> list[tuple[str, str]]:
    found = []
    for index, problem in enumerate(benchmark_named(benchmark).problems()):
        right = problem.prompt + problem.canonical_solution
        found += [(problem.task_id, wrong) for wrong in mutants(right, problem.entry_point, 1, problem.task_id)]
        if index % HANGING_EVERY == 0:
            found.append((problem.task_id, hanging(right, problem.entry_point)))
    return found


def _bare_cpu_seconds(benchmark: str) -> float:
    """The calls alone; making each call's arguments is not counted."""
    spent = 0.0
    for problem in benchmark_named(benchmark).problems():
        namespace: dict[str, Any] = {}
        exec(compile(problem.prompt + problem.canonical_solution, "reference", "exec", dont_inherit=True), namespace)
        function = namespace[problem.entry_point]
        for part in ("base", "plus"):
            calls = [marshal.loads(data) for data in problem.material.arguments[part]]
            started = time.process_time()
            for arguments in calls:
                function(*arguments)
            spent += time.process_time() - started
    return spent


def _ours(benchmark: str, programs: list[tuple[str, str]]) -> float:
    """The time from the first program given to two warm judges to the last verdict."""
    from evolcoder.evaluate.execution import judges

    chosen = benchmark_named(benchmark)
    problems = {p.task_id: p for p in chosen.problems()}
    longest = sorted(programs, key=lambda program: chosen.reference_seconds(problems[program[0]]), reverse=True)
    jobs = [Job(chosen, problems[task], 0, Submission("solution", text)) for task, text in longest]

    async def run() -> float:
        async with judges(box_settings(EvaluateSettings(), chosen), PROCESSES) as judge:
            await asyncio.gather(*(judge(job) for job in jobs[: 8 * PROCESSES]))  # until both are up
            started = time.perf_counter()
            await asyncio.gather(*(judge(job) for job in jobs))
            return time.perf_counter() - started

    return asyncio.run(run())


def _evalplus_seconds(benchmark: str, samples: Path, folder: Path) -> float:
    """Its command's own function, in a fresh process; the first call fills its cache of expected outputs and is not counted."""
    dataset = DATASETS[benchmark]
    data = folder / f"{dataset}.jsonl"
    first = not data.exists()
    if first:
        data.write_bytes(gzip.decompress(read_benchmark(benchmark)))
    environment = {**os.environ, f"{dataset.upper()}_OVERRIDE_PATH": str(data), "HOME": str(folder)}
    environment["XDG_CACHE_HOME"] = str(folder / "cache")
    results = samples.with_name(samples.stem + "_eval_results.json")
    for _ in range(1 + first):
        results.unlink(missing_ok=True)  # it asks before it writes over what is there
        shown = subprocess.run(
            [sys.executable, "-c", EVALPLUS, dataset, str(samples), str(PROCESSES)],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
    return float(shown.stdout.rpartition("SECONDS")[2])


if __name__ == "__main__":
    main()
