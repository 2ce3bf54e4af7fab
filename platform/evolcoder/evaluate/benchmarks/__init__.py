"""The benchmarks by name."""

from __future__ import annotations

from evolcoder.errors import SettingsError
from evolcoder.evaluate.benchmarks.base import Benchmark
from evolcoder.evaluate.benchmarks.ds1000.benchmark import Ds1000, Ds1000Insertion
from evolcoder.evaluate.benchmarks.humaneval import HumanEval
from evolcoder.evaluate.benchmarks.humaneval_plus import HumanEvalPlus
from evolcoder.evaluate.benchmarks.mbpp import Mbpp, MbppDev
from evolcoder.evaluate.benchmarks.mbpp_plus import MbppPlus

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (HumanEval(), HumanEvalPlus(), Mbpp(), MbppDev(), MbppPlus(), Ds1000(), Ds1000Insertion())
}


def benchmark_named(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        SettingsError: there is none.
    """
    if name not in BENCHMARKS:
        raise SettingsError(f"There is no benchmark {name!r}; benchmarks: {', '.join(BENCHMARKS)}.")
    return BENCHMARKS[name]
