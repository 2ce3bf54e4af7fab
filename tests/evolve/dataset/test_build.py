"""The training set: what is in it, in which order, and that it is made once."""

from __future__ import annotations

import io
import json
from collections import Counter, defaultdict
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evolve.rows import child, seed

from evolcoder.console import Reporter
from evolcoder.errors import RunFolderError
from evolcoder.evolve.copies.decontamination import Hit
from evolcoder.evolve.dataset.build import _merged_rows, build_dataset
from evolcoder.evolve.rounds.shards import PART_NAME, REJECTED_NAME, read_instructions, write_shard
from evolcoder.records import INSTRUCTION_SCHEMA
from evolcoder.run.folder import RunFolder
from evolcoder.settings.files import parse_settings
from evolcoder.settings.run import RunSettings
from evolcoder.storage.stage import Manifest, Stage, describe_file, read_manifest


def settings_in(storage: Path, **evolve: object) -> RunSettings:
    return parse_settings({"name": "r", "storage": str(storage), "evolve": {"rounds": 1, **evolve}}, "the test")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder.open(settings_in(tmp_path))
    seeds = [seed("Sort."), seed("Add."), seed("No answer.", response=" ")]
    made = [child(seeds[0], 1, "  sort"), child(seeds[1], 1, "Add three."), child(seeds[2], 1, "Gone.", "eliminated")]
    first = write_shard(run.round(0), PART_NAME.format(0), seeds)
    second = write_shard(run.round(1), PART_NAME.format(0), made[:2])
    second += write_shard(run.round(1), REJECTED_NAME.format(0), made[2:])
    Stage("round 00", run.round(0), {}).publish(first, {"kept": 3})
    operators = {"constraints": {"kept": 2, "eliminated": {"unchanged": 1}}}
    counts = {"kept": 2, "eliminated": 1, "prompt_tokens": 7, "operators": operators}
    Stage("round 01", run.round(1), {}).publish(second, counts)
    return run


texts = st.sampled_from(["Sort.", "Add.", "  sort", "Double it.", "add"])


@given(st.lists(st.lists(st.tuples(texts, st.booleans()), max_size=5), min_size=2, max_size=4), st.data())
@settings(max_examples=30)
def test_merging_rounds_is_a_filter(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[list[tuple[str, bool]]], data: st.DataObject
) -> None:
    """What it takes of the first rounds, and in which order, is the same when there are more. Trainings rely on it."""
    run = RunFolder.open(settings_in(tmp_path_factory.mktemp("merge")))
    parent = seed("A seed.")
    for number, rows in enumerate(drawn):
        made = [replace(child(parent, number, text), id=f"{number}-{n}") for n, (text, _) in enumerate(rows)]
        made = [row if answered else replace(row, response=" ") for row, (_, answered) in zip(made, rows, strict=True)]
        Stage(f"round {number:02d}", run.round(number), {}).publish(write_shard(run.round(number), PART_NAME.format(0), made))
    rounds = [manifest for number in range(len(drawn)) if (manifest := read_manifest(run.round(number)))]
    few = data.draw(st.integers(0, len(rounds) - 1))
    taken, of_few = (list(_merged_rows(run, some, defaultdict(Counter))) for some in (rounds, rounds[: few + 1]))
    assert [row for row in taken if row.round <= few] == of_few


def build(tmp_path: Path, run: RunFolder, **evolve: object) -> tuple[Manifest, str]:
    said = io.StringIO()
    return build_dataset(settings_in(tmp_path, **evolve), run, Reporter("plain", said)), said.getvalue()


def test_kept_rows_once_each_in_order_and_in_every_format(tmp_path: Path, run: RunFolder) -> None:
    manifest, said = build(tmp_path, run, rows_per_shard=2)
    rows = [row for name in run.dataset.names("train-*.arrow") for row in read_instructions(run.dataset, name)]
    assert [row.instruction for row in rows if row.round == 0] == [
        row.instruction for row in sorted((seed("Sort."), seed("Add.")), key=lambda row: row.id)
    ]
    assert [row.instruction for row in rows if row.round == 1] == ["Add three."]
    assert [(row.round, row.id) for row in rows] == sorted((row.round, row.id) for row in rows)
    assert manifest.rows == 3
    assert manifest.summary["duplicates"] == 1
    assert manifest.summary["without_response"] == 1
    assert "1 exact duplicates" in said
    assert set(manifest.inputs) == {"round 00", "round 01"}
    lines = [json.loads(line) for line in run.dataset.read_text("train.jsonl").splitlines()]
    assert lines == [{"instruction": r.instruction, "input": r.input, "output": r.response} for r in rows]
    table = pq.read_table(run.dataset.path + "/data/train-00000.parquet")
    assert table.schema.equals(INSTRUCTION_SCHEMA)
    assert table.to_pylist() == [row.to_row() for row in rows]


def test_the_card_has_front_matter_and_true_counts(tmp_path: Path, run: RunFolder) -> None:
    build(tmp_path, run)
    _, front, text = run.dataset.read_text("README.md").split("---\n", 2)
    assert yaml.safe_load(front)["configs"][0]["data_files"][0]["path"] == "data/train-*.parquet"
    assert yaml.safe_load(front)["size_categories"] == ["n<1K"]
    assert "| 1 | 2 | 1 | 1 | 7 | 0 | 0.00 |" in text
    assert "3 instructions with responses" in text
    assert "| unchanged | 1 |" in text
    assert "not compared with any benchmark" in text
    assert not run.dataset.exists("contamination.json")


def test_the_card_and_a_file_say_what_held_which_benchmark(tmp_path: Path, run: RunFolder) -> None:
    hit = Hit("r1", "humaneval", "HumanEval/7", "words", "the matching text")
    found = {
        "rules": 1,
        "benchmarks": {"humaneval": "openai/human-eval"},
        "rows_compared": 3,
        "rows": 1,
        "hits": [asdict(hit)],
    }
    for number in (0, 1):
        folder = run.round(number)
        folder.write_text("contamination.json", json.dumps(found if number else found | {"rows": 0, "hits": []}))
        before = read_manifest(folder)
        assert before is not None
        files = [*before.files, describe_file(folder, "contamination.json")]
        Stage(before.stage, folder, {}).publish(files, before.summary)
    manifest, _ = build(tmp_path, run)
    merged = json.loads(run.dataset.read_text("contamination.json"))
    assert merged["hits"] == [{"round": 1, **asdict(hit)}]
    assert (merged["rows_compared"], merged["rows"], merged["by_benchmark"]) == (6, 1, {"humaneval": 1})
    assert manifest.summary["contaminated"] == 1
    card = run.dataset.read_text("README.md")
    assert "| humaneval | openai/human-eval | 1 |" in card
    assert "6 rows, seeds and evolved, were compared" in card


def test_large_sets_are_split_over_parquet_files(tmp_path: Path, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evolcoder.evolve.dataset.build._ROWS_PER_PARQUET", 2)
    manifest, _ = build(tmp_path, run, rows_per_shard=2)
    assert run.dataset.names("data/*", recursive=True) == ["data/train-00000.parquet", "data/train-00001.parquet"]
    assert {entry.path for entry in manifest.files} >= {"data/train-00000.parquet", "data/train-00001.parquet"}


def test_what_others_read_it_with(tmp_path: Path, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's loader takes the folder as it is, and LLaMA-Factory's description names the Alpaca file."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    build(tmp_path, run)
    loaded = datasets.load_dataset(run.dataset.path, split="train", cache_dir=str(tmp_path / "cache"))
    assert sorted(loaded["id"]) == sorted(row.id for row in read_instructions(run.dataset, "train-00000.arrow"))
    info = json.loads(run.dataset.read_text("dataset_info.json"))
    alpaca = datasets.load_dataset(
        "json", data_files=f"{run.dataset.path}/{info['r']['file_name']}", split="train", cache_dir=str(tmp_path / "cache")
    )
    assert sorted(info["r"]["columns"].values()) == sorted(alpaca.column_names) == ["input", "instruction", "output"]
    assert alpaca.num_rows == loaded.num_rows == 3


def test_a_second_time_does_nothing_and_a_changed_round_makes_it_anew(tmp_path: Path, run: RunFolder) -> None:
    first, _ = build(tmp_path, run)
    again, said = build(tmp_path, run)
    assert again == first
    assert "done" in said
    Stage("round 01", run.round(1), {}).publish([], {"kept": 0})
    fewer, _ = build(tmp_path, run)
    assert fewer.rows == 2


def test_a_missing_round_is_one_sentence(tmp_path: Path) -> None:
    run = RunFolder.open(settings_in(tmp_path))
    with pytest.raises(RunFolderError, match=r"round 00 .* run `evolcoder evolve` first"):
        build(tmp_path, run)
