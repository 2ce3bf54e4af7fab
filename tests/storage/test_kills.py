"""A process that is killed between any two files of any stage leaves a stage that is not done, or one that is whole.

The kill is an exception that nothing catches, raised in place of the n-th change to the disk, for every n.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.evolve.rows import child, seed

from evolcoder.console import Reporter
from evolcoder.errors import DataError, IncompleteError
from evolcoder.evaluate.measurement import Measurement, model_stage
from evolcoder.evaluate.result import publish, read_score
from evolcoder.evolve.dataset.build import build_dataset
from evolcoder.evolve.rounds.shards import write_shard
from evolcoder.records import Completion, Verdict, VerdictStatus
from evolcoder.run.folder import RunFolder
from evolcoder.settings.files import parse_settings
from evolcoder.settings.run import RunSettings
from evolcoder.stages.listing import run_stages
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Stage, read_manifest
from evolcoder.study import report as study_report
from evolcoder.study.compare import compare_evaluations
from evolcoder.study.evidence.gather import gather
from evolcoder.study.report import write_report

_CHANGES = ("write_bytes", "open_output", "delete")
TASKS = ["HumanEval/0", "HumanEval/1"]


class Killed(BaseException):
    """Stands for a SIGKILL: no code of ours may catch it."""


class Disk:
    """Counts the changes to all folders and raises in place of the one that is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.changes, self.kill_at = 0, -1
        for name in _CHANGES:
            monkeypatch.setattr(Folder, name, self._watched(getattr(Folder, name)))

    def _watched(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*given: Any, **named: Any) -> Any:
            if self.changes == self.kill_at:
                raise Killed
            self.changes += 1
            return change(*given, **named)

        return watched


def quiet() -> Reporter:
    return Reporter("plain", io.StringIO())


def settings_in(tmp_path: Path, **evaluate: Any) -> RunSettings:
    data = {"name": "r", "storage": str(tmp_path), "evolve": {"rounds": 1}, "evaluate": {"limit": 2, **evaluate}}
    return parse_settings(data, "test")


def verdicts(*statuses: VerdictStatus) -> list[Verdict]:
    return [Verdict(task, 0, s, s, None, "", "pass", 0.1, 0.1) for task, s in zip(TASKS, statuses, strict=True)]


def evaluation(settings: RunSettings, fingerprint: str) -> Stage:
    folder = RunFolder.open(settings).evaluation("base", "humaneval")
    return model_stage(settings.evaluate, "humaneval", folder, fingerprint, "base")


def score(settings: RunSettings, fingerprint: str, *statuses: VerdictStatus) -> None:
    stage = evaluation(settings, fingerprint)
    measurement = Measurement(stage.pinned(), settings.evaluate, "model", "base")
    publish(measurement, [Completion(task, 0, "p", "a", "stop", 1, 1) for task in TASKS], verdicts(*statuses))


def make_rounds(settings: RunSettings, response: str) -> None:
    run = RunFolder.open(settings)
    one = seed("a", response=response)
    for number, rows in enumerate([[one, seed("b")], [child(one, 1, "c")]]):
        stage = Stage(f"round {number:02d}", run.round(number), {})
        stage.publish(write_shard(stage.begin("*.arrow"), "part-00000.arrow", rows), {"kept": len(rows)})


def dataset(settings: RunSettings, making: int) -> None:
    make_rounds(settings, f"print({making})")
    build_dataset(settings, RunFolder.open(settings), quiet())


def report(settings: RunSettings, making: int) -> None:
    score(settings, f"model {making}", "passed", "passed" if making else "failed")
    run = RunFolder.open(settings)
    write_report(settings, run, run_stages(settings, run)[-1].stage, Reporter("plain", io.StringIO()))


def evaluate(settings: RunSettings, making: int) -> None:
    score(settings, f"model {making}", "passed", "passed" if making else "failed")


PLACES = {"dataset": "dataset", "evaluate": "evaluate/base/humaneval", "report": "report"}
MAKERS: dict[str, Callable[[RunSettings, int], None]] = {"dataset": dataset, "evaluate": evaluate, "report": report}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_kill_between_any_two_files_leaves_nothing_that_lies(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_report, "plain_svg", lambda figure: f"<svg>{figure.title}</svg>")  # as files they do as well
    monkeypatch.setattr(study_report, "png", lambda svg: svg.encode())
    disk = Disk(monkeypatch)
    make = MAKERS[kind]
    killed = 0
    for at in range(1000):
        settings = settings_in(tmp_path / str(at))
        make(settings, 0)
        disk.changes, disk.kill_at = 0, at
        try:
            make(settings, 1)
        except Killed:
            killed += 1
        else:
            break
        finally:
            disk.kill_at = -1
        for place in ("rounds/00", "rounds/01", *PLACES.values()):
            folder = RunFolder.open(settings).root / place
            manifest = read_manifest(folder)
            assert manifest is None or manifest.damage(folder) is None, f"killed at change {at}, {place}"
        make(settings, 1)  # the same command again
        whole = read_manifest(RunFolder.open(settings).root / PLACES[kind])
        assert whole is not None
        assert whole.damage(RunFolder.open(settings).root / PLACES[kind]) is None
    assert killed > 4, "there was nothing to be killed between"


def test_a_score_that_is_refused_leaves_no_old_one_behind(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    run = RunFolder.open(settings)
    score(settings, "old model", "passed", "passed")
    assert evaluation(settings, "old model").state().done
    assert [one["value"] for one in gather(settings, run)["scores"]] == [1.0]
    with pytest.raises(IncompleteError):
        score(settings, "new model", "passed", "infra_error")
    assert {evaluation(settings, f"{one} model").state().kind for one in ("old", "new")} == {"missing"}
    folder = run.evaluation("base", "humaneval")
    assert not folder.exists("score.json")
    assert json.loads(folder.read_text("verdicts.jsonl").splitlines()[1])["status"] == "infra_error"
    assert gather(settings, run)["scores"] == []
    with pytest.raises(DataError, match="holds no finished evaluation"):
        compare_evaluations([folder, folder])
    score(settings, "new model", "passed", "failed")
    assert read_score(folder)["value"] == 0.5
