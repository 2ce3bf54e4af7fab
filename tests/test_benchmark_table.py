"""The table of benchmarks: what it names is there, and one file and one entry are all that a new benchmark takes."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from evolcoder.benchmark_table import BENCHMARKS, BenchmarkEntry, BenchmarkFile, comparable_benchmarks
from evolcoder.console import Reporter
from evolcoder.evaluate.benchmarks import benchmark_named
from evolcoder.evaluate.benchmarks.base import Benchmark
from evolcoder.evaluate.pipeline import evaluate_samples
from evolcoder.evolve.copies.decontamination import BenchmarkIndex, decontamination_identity
from evolcoder.problems.fetch import list_benchmarks
from evolcoder.problems.rows import read_problems
from evolcoder.settings.files import parse_settings
from evolcoder.storage.folders import Folder

TOY = """
from evolcoder.evaluate.benchmarks.base import Benchmark, Problem, PromptStyle
from evolcoder.problems.rows import ProblemRow, problem_rows


class Toy(Benchmark):
    name = "toy"
    styles = (PromptStyle("chat", "toy-chat-1", "chat", (), "wizardcoder", lambda problem: problem.prompt),)

    def problems(self):
        return [Problem(row.task_id, row.prompt, row.entry_point, row.solutions[0], row.tests) for row in problem_rows("toy")]

    def program(self, problem, code):
        return code

    def check(self, problem, part, program, prepared):
        exec(problem.test, {problem.entry_point: program.function(problem.entry_point)})


def toy_row(benchmark, row):
    text = row["text"]
    return ProblemRow(benchmark, row["id"], text, text, (row["code"],), row["test"], row["name"], row)
"""
ROWS = [
    {
        "id": f"Toy/{number}",
        "name": name,
        "text": f"Write a function {name} that says {text}.",
        "code": f"def {name}(degrees):\n    return [{limit} - degree for degree in degrees if degree < {limit}]\n",
        "test": f"assert {name}([{limit - 1}, {limit + 1}]) == [1]",
    }
    for number, name, limit, text in [
        (0, "kettles_left", 100, "how far each of the kettles in the harbour kitchen is from boiling over at sea level"),
        (1, "pots_left", 90, "by how much every clay pot on the market stall may still warm before its glaze cracks"),
    ]
]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A benchmark of two problems: its file of code on the path, its data where data is looked for, its entry in the table."""
    from ray import cloudpickle

    data = gzip.compress("".join(json.dumps(row) + "\n" for row in ROWS).encode())
    (tmp_path / "toy.jsonl.gz").write_bytes(data)
    (tmp_path / "toy_benchmark.py").write_text(TOY)
    monkeypatch.setenv("EVOLCODER_DATA", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    file = BenchmarkFile("toy", "toy.jsonl.gz", hashlib.sha256(data).hexdigest(), "toy 1.0", "", "", "MIT")
    monkeypatch.setitem(BENCHMARKS, "toy", BenchmarkEntry("toy_benchmark:Toy", "toy_benchmark:toy_row", (file,)))
    module = importlib.import_module("toy_benchmark")
    cloudpickle.register_pickle_by_value(module)  # it is installed nowhere, so Ray's processes cannot import it
    yield tmp_path
    cloudpickle.unregister_pickle_by_value(module)
    del sys.modules["toy_benchmark"]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_what_an_entry_names_is_there(name: str) -> None:
    entry = BENCHMARKS[name]
    benchmark = pkgutil.resolve_name(entry.benchmark_class)()
    assert isinstance(benchmark, Benchmark)
    assert benchmark.name == name
    assert benchmark.file in entry.files
    if entry.row_reader:
        assert entry.row_reader.startswith("evolcoder.problems."), "evolve must not reach another stage by the table"
        assert callable(pkgutil.resolve_name(entry.row_reader))
        assert entry.files[0].name == name


def test_benchmarks_that_share_problems_say_so(data_folder: Path) -> None:
    tasks = {name: {problem.task_id for problem in benchmark_named(name).problems()} for name in BENCHMARKS}
    for name, entry in BENCHMARKS.items():
        assert set(entry.shares_with) == {other for other in BENCHMARKS if other != name and tasks[other] & tasks[name]}


def test_a_new_benchmark_is_offered_wherever_benchmarks_are(toy: Path) -> None:
    assert comparable_benchmarks()[-1] == "toy"
    plain = {"name": "r", "evaluate": {"benchmarks": ["toy"]}, "evolve": {"decontaminate": ["toy"]}}
    settings = parse_settings(plain, "x.yaml")
    assert (settings.evaluate.benchmarks, settings.evolve.decontaminate) == (("toy",), ("toy",))
    stream = StringIO()
    list_benchmarks(Reporter("json", stream))
    assert {"name": "toy", "state": "here"}.items() <= json.loads(stream.getvalue())["rows"][-1].items()


def test_rows_are_compared_with_a_new_benchmark(toy: Path) -> None:
    index = BenchmarkIndex(read_problems(["toy"]))
    assert [hit.task_id for hit in index.hits("r", ROWS[1]["text"], "")] == ["Toy/1"]
    assert index.hits("r", "Write a function that adds two numbers.", "") == []
    assert list(decontamination_identity(["toy"])["benchmarks"]) == ["toy"]


@pytest.mark.slow
def test_a_new_benchmark_is_evaluated(local_ray: None, toy: Path) -> None:
    answers = [f"Sure:\n```python\n{ROWS[0]['code']}```", "```python\ndef pots_left(degrees):\n    return degrees\n```"]
    samples = toy / "samples.jsonl"
    samples.write_text(
        "".join(json.dumps({"task_id": row["id"], "answer": text}) + "\n" for row, text in zip(ROWS, answers, strict=True))
    )
    settings = parse_settings({"name": "r", "evaluate": {"workers": 1}}, "x.yaml").evaluate
    out = Folder.open(toy / "out")
    score = evaluate_samples(samples, "toy", "wizardcoder", out, settings, Reporter("plain", StringIO()))
    assert (score.benchmark, score.tasks, score.value) == ("toy", 2, 0.5)
    assert score.benchmark_version.startswith("toy 1.0, sha256 ")
    verdicts = [json.loads(line) for line in out.read_text("verdicts.jsonl").splitlines()]
    assert [(verdict["task_id"], verdict["status"]) for verdict in verdicts] == [("Toy/0", "passed"), ("Toy/1", "failed")]
    assert "pots_left([89, 91]) returned [89, 91]" in verdicts[1]["detail"]
