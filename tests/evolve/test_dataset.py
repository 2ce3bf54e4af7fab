"""The training set: what is in it, in which order, and that it is made once."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from evolcoder.console import Reporter
from evolcoder.errors import RunFolderError
from evolcoder.evolve.dataset import build_dataset
from evolcoder.evolve.shards import part_name, read_instructions, rejected_name, write_shard
from evolcoder.records import INSTRUCTION_SCHEMA
from evolcoder.runs import RunFolder, publish_manifest
from evolcoder.settings import RunSettings, parse_settings

from .rows import child, seed


def settings_in(storage: Path, **evolve: object) -> RunSettings:
    return parse_settings({"name": "r", "storage": str(storage), "evolve": {"rounds": 1, **evolve}}, "the test")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder.open(settings_in(tmp_path))
    seeds = [seed("Sort."), seed("Add."), seed("No answer.", response=" ")]
    made = [child(seeds[0], 1, "  sort"), child(seeds[1], 1, "Add three."), child(seeds[2], 1, "Gone.", "eliminated")]
    first = write_shard(run.round(0), part_name(0), seeds)
    second = write_shard(run.round(1), part_name(0), made[:2]) + write_shard(run.round(1), rejected_name(0), made[2:])
    publish_manifest(run.round(0), "round 00", {}, {}, first, {"kept": 3})
    publish_manifest(run.round(1), "round 01", {}, {}, second, {"kept": 2, "eliminated": 1, "prompt_tokens": 7})
    return run


def build(tmp_path: Path, run: RunFolder, **evolve: object) -> tuple[object, str]:
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
    table = pq.read_table(run.dataset.path + "/train.parquet")
    assert table.schema.equals(INSTRUCTION_SCHEMA)
    assert table.to_pylist() == [row.to_row() for row in rows]


def test_the_card_has_front_matter_and_true_counts(tmp_path: Path, run: RunFolder) -> None:
    build(tmp_path, run)
    _, front, text = run.dataset.read_text("README.md").split("---\n", 2)
    assert yaml.safe_load(front)["configs"][0]["data_files"][0]["path"] == "train.parquet"
    assert "| 1 | 2 | 1 | 1 | 7 | 0 |" in text
    assert "3 instructions with responses" in text


def test_a_second_time_does_nothing_and_a_changed_round_makes_it_anew(tmp_path: Path, run: RunFolder) -> None:
    first, _ = build(tmp_path, run)
    again, said = build(tmp_path, run)
    assert again == first
    assert "done" in said
    publish_manifest(run.round(1), "round 01", {}, {}, [], {"kept": 0})
    fewer, _ = build(tmp_path, run)
    assert fewer.rows == 2


def test_a_missing_round_is_one_sentence(tmp_path: Path) -> None:
    run = RunFolder.open(settings_in(tmp_path))
    with pytest.raises(RunFolderError, match=r"round 00 .* run `evolcoder evolve` first"):
        build(tmp_path, run)
