"""How far a stage is, from the files that it leaves on its way; and what `status` says of one that is done."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from evolcoder import verbs
from evolcoder.console import Reporter
from evolcoder.run.folder import RunFolder
from evolcoder.settings.run import RunSettings
from evolcoder.stages.listing import RunStage, run_stages
from evolcoder.stages.progress import AT_WORK_SECONDS, progress_of, questions_of, stage_status
from evolcoder.storage.arrow_files import arrow_bytes
from evolcoder.storage.folders import Folder


def settings(storage: Path, **sections: Any) -> RunSettings:
    return RunSettings.model_validate({"name": "r", "storage": str(storage), **sections})


def stage(chosen: RunSettings, label: str) -> tuple[RunStage, RunFolder]:
    run = RunFolder.open(chosen)
    (entry,) = (entry for entry in run_stages(chosen, run) if entry.label == label)
    return entry, run


def write(folder: Folder, name: str, text: str, at: float) -> None:
    folder.make()
    place = folder.local_path / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    os.utime(place, (at, at))


def encoded(folder: Folder, rows: int, at: float) -> None:
    place = folder / "checkpoints/abc"
    place.make().write_bytes("encoded.arrow", arrow_bytes([{"n": n} for n in range(rows)], pa.schema([("n", pa.int64())])))
    os.utime(place.local_path / "encoded.arrow", (at, at))


def test_nothing_is_said_of_what_has_not_begun(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    run = RunFolder.open(chosen)
    assert all(progress_of(entry, chosen, run) is None for entry in run_stages(chosen, run))


@pytest.mark.parametrize(("train", "total"), [({"max_steps": 7}, 7), ({"max_steps": None, "epochs": 3}, 4)])
def test_steps_of_a_training_are_counted_against_all_of_them(tmp_path: Path, train: dict[str, Any], total: int) -> None:
    chosen = settings(tmp_path, train={**train, "global_batch_size": 8})
    entry, run = stage(chosen, "train on rounds 0-3")
    encoded(entry.stage.folder, 10, at=100.0)
    write(entry.stage.folder, "metrics.jsonl", '{"step": 1, "loss": 2.0}\n', at=50.0)
    begun = progress_of(entry, chosen, run)
    assert begun is not None
    assert begun.text(100.0 + AT_WORK_SECONDS) == f"at work: 0 of {total} steps", "the metrics are of an earlier training"
    write(entry.stage.folder, "metrics.jsonl", '{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.51239}\n', at=200.0)
    begun = progress_of(entry, chosen, run)
    assert begun is not None
    assert begun.text(200.0) == f"at work: 2 of {total} steps, loss 1.512"
    assert begun.text(201.0 + AT_WORK_SECONDS) == f"begun: 2 of {total} steps, loss 1.512"


def test_answers_and_replies_are_counted(tmp_path: Path, data_folder: Path) -> None:
    chosen = settings(tmp_path, evaluate={"limit": 5, "samples": 2, "temperature": 0.2}, evolve={"judge": True})
    entry, run = stage(chosen, "evaluate base on humaneval")
    write(entry.stage.folder, "answers.jsonl", "{}\n{}\n{}\n{torn", at=90.0)
    write(entry.stage.folder, "judged.jsonl", "{}\n", at=95.0)
    begun = progress_of(entry, chosen, run)
    assert begun is not None
    assert (begun.text(95.0), begun.changed_at) == ("at work: 3 of 10 answers, 1 judged", 95.0)
    assert questions_of("humaneval", chosen) == 10
    entry, run = stage(chosen, "round 2")
    write(run.journal / "02", "000001-abc.jsonl", "{}\n{}\n", at=95.0)
    begun = progress_of(entry, chosen, run)
    assert begun is not None
    assert begun.text(96.0) == "at work: 2 replies", "how many seeds there are is not known yet"
    first, _ = stage(chosen, "round 0")
    first.stage.begin()
    first.stage.publish([], {"kept": 4})
    begun = progress_of(entry, chosen, run)
    assert begun is not None
    assert begun.text(96.0) == "at work: 2 of 12 replies"


CHANGES = [
    ({"seeds": {"limit": 5}}, "round 0", "seeds"),
    ({"teacher": {"temperature": 0.1}}, "round 1", "teacher"),
    ({"evolve": {"rows_per_shard": 9}}, "data set", "rows_per_shard"),
    ({"train": {"learning_rate": 1.0}}, "train on rounds 0-3", "learning_rate"),
    ({"evaluate": {"max_tokens": 9}}, "evaluate tuned on humaneval", "max_tokens"),
    ({"evaluate": {"style": "chat"}}, "evaluate tuned on humaneval", "style"),
]


@pytest.mark.parametrize(("change", "label", "key"), CHANGES)
def test_what_is_done_by_other_settings_is_to_do_again(
    tmp_path: Path, change: dict[str, Any], label: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = settings(tmp_path)
    for entry in run_stages(before, RunFolder.open(before)):
        if entry.kind != "report" and entry.model != "base":
            entry.stage.begin()
            entry.stage.publish([])
    for entry in run_stages(before, RunFolder.open(before)):
        assert entry.kind == "report" or entry.model == "base" or stage_status(entry).text == "done"
    monkeypatch.setattr("evolcoder.models.embedded_model_folder", lambda: pytest.fail("it was to be a look alone"))
    entry, _ = stage(settings(tmp_path, **change), label)
    assert stage_status(entry).text.startswith("to do again: ")
    assert key in stage_status(entry).changed
    unlike, _ = stage(settings(tmp_path, teacher={"max_concurrency": 3}, train={"workers": 4}), label)
    assert stage_status(unlike).done, "where and how fast it is made is no part of it"


def test_status_says_how_far_a_stage_is_and_when_it_last_wrote(tmp_path: Path) -> None:
    chosen = settings(tmp_path, train={"max_steps": 7})
    entry, _ = stage(chosen, "train on rounds 0-3")
    encoded(entry.stage.folder, 10, at=100.0)
    stream = io.StringIO()
    verbs.status(chosen, Reporter("json", stream), "r.yaml")
    rows = {row["stage"]: row for row in json.loads(stream.getvalue())["rows"]}
    assert rows["train on rounds 0-3"]["state"] == "begun: 0 of 7 steps"
    assert rows["train on rounds 0-3"]["made"].endswith(" ago")
    assert rows["round 0"]["state"] == "to do"
