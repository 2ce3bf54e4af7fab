"""Whether this machine can do what a run needs, check by check. It changes nothing."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from evolcoder.console import Reporter
from evolcoder.errors import EvolcoderError

PACKAGES = ("ray", "torch", "transformers", "deepspeed", "openai", "pyarrow", "evalplus")
_FREE_DISK_GB = 5
_MEMORY_GB = 6

State = Literal["ok", "warning", "missing"]
Check = Callable[[], tuple[State, str]]


def examine(reporter: Reporter) -> bool:
    """Run every check, show a table, and say whether nothing needed is missing."""
    checks: list[tuple[str, Check]] = [
        ("Python", _python),
        ("packages", _packages),
        ("embedded model", _embedded_model),
        ("sandbox", _sandbox),
        ("processors", _processors),
        ("memory", _memory),
        ("disk", _disk),
        ("Ray", _ray),
        ("benchmark data", _benchmark_data),
    ]
    results = []
    for name, check in checks:
        try:
            state, detail = check()
        except EvolcoderError as error:
            state, detail = "missing", error.message
        results.append((name, state, detail))
    reporter.table("This machine", ["check", "state", "detail"], results)
    missing = [name for name, state, _ in results if state == "missing"]
    if missing:
        reporter.warn(f"mend {', '.join(missing)} first; the details say how")
    else:
        reporter.finish((), ["evolcoder demo"])
    return not missing


def _python() -> tuple[State, str]:
    state: State = "ok" if sys.version_info >= (3, 11) else "missing"
    return state, f"{platform.python_version()} at {sys.prefix}"


def _packages() -> tuple[State, str]:
    found, absent = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            absent.append(name)
    if absent:
        return "missing", f"not installed: {', '.join(absent)}; run `make install`"
    return "ok", ", ".join(found)


def _embedded_model() -> tuple[State, str]:
    from evolcoder.embedded import embedded_model_folder

    return "ok", str(embedded_model_folder())


def _sandbox() -> tuple[State, str]:
    from evolcoder.sandbox.probe import probe

    default, *others = probe("bubblewrap"), probe("landlock")
    details = [default.detail, *(report.detail for report in others if report.works or default.works)]
    if default.works:
        return "ok", "; ".join(details)
    return ("warning" if any(report.works for report in others) else "missing"), " ".join(details)


def _processors() -> tuple[State, str]:
    import torch

    cores = f"{os.cpu_count()} CPU cores"
    if not torch.cuda.is_available():
        return "ok", f"{cores}, no GPU: small models only"
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return "ok", f"{cores}, {len(names)} GPU ({', '.join(sorted(set(names)))})"


def _memory() -> tuple[State, str]:
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return ("ok" if gigabytes >= _MEMORY_GB else "warning"), f"{gigabytes:.0f} GB; the demo needs about {_MEMORY_GB} GB"


def _disk() -> tuple[State, str]:
    gigabytes = shutil.disk_usage(Path.cwd()).free / 1e9
    return ("ok" if gigabytes >= _FREE_DISK_GB else "warning"), f"{gigabytes:.0f} GB free here; the demo needs about 2 GB"


def _ray() -> tuple[State, str]:
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        return "ok", "RAY_ADDRESS is not set: verbs start Ray on this machine by themselves"
    from evolcoder.cluster import ray_session

    with ray_session():
        import ray

        have = ray.cluster_resources()
    return "ok", f"{address}: {have.get('CPU', 0):.0f} CPUs, {have.get('GPU', 0):.0f} GPUs"


def _benchmark_data() -> tuple[State, str]:
    from evolcoder.evaluate.benchmarks.humaneval import HumanEval

    return "ok", f"HumanEval: {len(HumanEval().problems())} problems"
