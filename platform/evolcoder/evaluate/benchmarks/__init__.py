"""The benchmarks by name."""

from __future__ import annotations

from evolcoder.errors import SettingsError
from evolcoder.evaluate.benchmarks.base import Benchmark
from evolcoder.evaluate.benchmarks.humaneval import HumanEval

_BENCHMARKS: dict[str, type[Benchmark]] = {"humaneval": HumanEval}


def benchmark_named(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        SettingsError: there is none.
    """
    if name not in _BENCHMARKS:
        raise SettingsError(f"There is no benchmark {name!r}; benchmarks: {', '.join(sorted(_BENCHMARKS))}.")
    return _BENCHMARKS[name]()
