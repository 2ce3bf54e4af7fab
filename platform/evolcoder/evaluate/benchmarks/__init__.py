"""The benchmarks by name. Each is imported when it is asked for: some take seconds."""

from __future__ import annotations

import pkgutil

from evolcoder.benchmark_table import BENCHMARKS
from evolcoder.errors import SettingsError
from evolcoder.evaluate.benchmarks.base import Benchmark


def benchmark_named(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        SettingsError: there is none.
    """
    if name not in BENCHMARKS:
        raise SettingsError(f"There is no benchmark {name!r}; benchmarks: {', '.join(BENCHMARKS)}.")
    benchmark: Benchmark = pkgutil.resolve_name(BENCHMARKS[name].benchmark_class)()
    return benchmark
