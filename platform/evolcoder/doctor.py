"""Whether this machine can do what a run needs, check by check. It changes nothing."""

from __future__ import annotations

import os
import pkgutil
import platform
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from evolcoder.benchmark_table import BENCHMARKS
from evolcoder.cluster import ray_session
from evolcoder.console import Reporter
from evolcoder.embedded import embedded_model_folder
from evolcoder.errors import EvolcoderError
from evolcoder.sandbox.checked import probe

PACKAGES = ("ray", "torch", "transformers", "deepspeed", "openai", "pyarrow", "evalplus")

State = Literal["ok", "warning", "missing"]
Check = Callable[[], tuple[State, str]]


def examine(reporter: Reporter) -> bool:
    """Run every check, show a table, and say whether nothing needed is missing."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    disk = shutil.disk_usage(Path.cwd()).free / 1e9
    humaneval = BENCHMARKS["humaneval"].benchmark_class
    checks: list[tuple[str, Check]] = [
        ("Python", lambda: ("ok", f"{platform.python_version()} at {sys.prefix}")),
        ("packages", _packages),
        ("embedded model", lambda: ("ok", str(embedded_model_folder()))),
        ("sandbox", _sandbox),
        ("processors", _processors),
        ("memory", lambda: ("ok" if memory >= 6 else "warning", f"{memory:.0f} GB; the demo needs about 6 GB")),
        ("disk", lambda: ("ok" if disk >= 5 else "warning", f"{disk:.0f} GB free here; the demo needs about 2 GB")),
        ("Ray", _ray),
        ("benchmark data", lambda: ("ok", f"HumanEval: {len(pkgutil.resolve_name(humaneval)().problems())} problems")),
    ]
    results = []
    for name, check in checks:
        try:
            state, detail = check()
        except EvolcoderError as error:
            state, detail = "missing", error.message
        except ModuleNotFoundError as error:
            state, detail = "missing", f"it needs the package {error.name}; run `make install`"
        results.append((name, state, detail))
    reporter.table("This machine", ["check", "state", "detail"], results)
    missing = [name for name, state, _ in results if state == "missing"]
    if missing:
        reporter.warn(f"mend {', '.join(missing)} first; the details say how")
    else:
        reporter.finish((), ["evolcoder demo"])
    return not missing


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


def _sandbox() -> tuple[State, str]:
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


def _ray() -> tuple[State, str]:
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        return "ok", "RAY_ADDRESS is not set: verbs start Ray on this machine by themselves"
    with ray_session():
        import ray

        have = ray.cluster_resources()
    return "ok", f"{address}: {have.get('CPU', 0):.0f} CPUs, {have.get('GPU', 0):.0f} GPUs"
