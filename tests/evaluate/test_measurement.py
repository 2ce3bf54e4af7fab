"""When an evaluation that older rules made stays done, and when not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evolcoder.evaluate.benchmarks import benchmark_named
from evolcoder.evaluate.measurement import COMPLETIONS, VERDICTS, model_stage
from evolcoder.evaluate.prompts import style_named
from evolcoder.evaluate.questions import questions
from evolcoder.records import COMPLETION_SCHEMA, VERDICT_SCHEMA, Completion, Verdict
from evolcoder.settings.run import EvaluateSettings
from evolcoder.storage.arrow_files import arrow_bytes
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Stage

GOOD = "```python\ndef f():\n    return 1\n```"
GLUED = "```python\ndef f():\n    return 1```"
FUTURE = f"from __future__ import annotations\n{GOOD}"


def stage_in(tmp_path: Path, style: str, **settings: Any) -> Stage:
    return model_stage(EvaluateSettings(**settings), "humaneval", Folder.open(tmp_path), "model", style)


def finish(stage: Stage, answers: list[str], **identity: Any) -> None:
    """An evaluation as it was written before answers were read as now."""
    older = {name: value for name, value in stage.resolved_identity.items() if name != "reading_version"} | identity
    before = Stage(stage.kind, stage.folder, older, stage.inputs, stage.packages)
    rows = [Completion(f"HumanEval/{n}", 0, "", text, "stop", 1, 1).to_row() for n, text in enumerate(answers)]
    before.begin().write_bytes(COMPLETIONS, arrow_bytes(rows, COMPLETION_SCHEMA))
    before.publish([COMPLETIONS], {})


@pytest.mark.parametrize(
    ("style", "answers", "kind"),
    [
        ("wizardcoder", [GOOD, GOOD], "done"),
        ("wizardcoder", [GOOD, GLUED], "stale"),
        ("wizardcoder", [GOOD, FUTURE], "stale"),
        ("base", ["    return 1\n"], "done"),
        ("base", [GLUED], "done"),
        ("base", ["    return 1\n\ufeff"], "stale"),
    ],
)
def test_it_stays_done_where_every_answer_is_read_alike(style: str, answers: list[str], kind: str, tmp_path: Path) -> None:
    finish(stage_in(tmp_path, style), answers)
    assert stage_in(tmp_path, style).state().kind == kind


@pytest.mark.parametrize(
    ("without", "program", "kind"),
    [
        (("running_version",), "def f(x: int): return 1\n", "done"),
        (("running_version",), "def f(x: List[int]): return 1\n", "stale"),
        (("running_version", "reading_version"), "def f(x: int): return 1\n", "done"),
        (("running_version", "reading_version"), "import sys\n", "stale"),
        (("extraction",), "def f(x: int): return 1\n", "stale"),
    ],
)
def test_it_stays_done_where_every_program_runs_alike(
    without: tuple[str, ...], program: str, kind: str, tmp_path: Path
) -> None:
    stage = stage_in(tmp_path, "wizardcoder")
    older = {name: value for name, value in stage.resolved_identity.items() if name not in without}
    before = Stage(stage.kind, stage.folder, older, stage.inputs, stage.packages).begin()
    asked = Completion("HumanEval/0", 0, "", GOOD, "stop", 1, 1).to_row()
    judged = Verdict("HumanEval/0", 0, "passed", "passed", None, "", program, 0.1, 0.1).to_row()
    before.write_bytes(COMPLETIONS, arrow_bytes([asked], COMPLETION_SCHEMA))
    before.write_bytes(VERDICTS, arrow_bytes([judged], VERDICT_SCHEMA))
    Stage(stage.kind, stage.folder, older, stage.inputs, stage.packages).publish([COMPLETIONS, VERDICTS], {})
    assert stage_in(tmp_path, "wizardcoder").state().kind == kind


def test_one_of_style_chat_is_stale_whatever_its_answers(tmp_path: Path) -> None:
    finish(stage_in(tmp_path, "chat"), [GOOD], extraction="wizardcoder")
    state = stage_in(tmp_path, "chat").state()
    assert (state.kind, "extraction" in state.reason) == ("stale", True)


def test_another_setting_makes_it_stale_and_no_new_score_takes_the_old_name(tmp_path: Path) -> None:
    finish(stage_in(tmp_path, "wizardcoder"), [GOOD])
    stage = stage_in(tmp_path, "wizardcoder", seed=3)
    assert stage.state().kind == "stale"
    assert stage.resolved_identity["reading_version"] == 2


def test_a_damaged_one_vouches_for_nothing(tmp_path: Path) -> None:
    finish(stage_in(tmp_path, "wizardcoder"), [GOOD])
    (tmp_path / COMPLETIONS).write_bytes(b"")
    assert not stage_in(tmp_path, "wizardcoder").state().done


def test_marks_of_thinking_decide_only_where_they_are_set(tmp_path: Path) -> None:
    plain = stage_in(tmp_path, "chat").resolved_identity
    assert "thinking_marks" not in plain
    marked = stage_in(tmp_path, "chat", thinking_marks=[("<plan>", "</plan>")]).resolved_identity
    assert marked == {**plain, "thinking_marks": [["<plan>", "</plan>"]]}
    assert stage_in(tmp_path, "chat", thinking_marks=None).resolved_identity == {**plain, "thinking_marks": None}
    assert json.dumps(plain)


@pytest.mark.parametrize(
    ("style", "settings", "keys"),
    [
        ("base", {}, ["6d8db2b52d1c73a5e7e2"]),
        ("chat", {}, ["d6e41f237479286a6cea"]),
        ("chat", {"samples": 2, "temperature": 0.2}, ["460d7bf7c28d69f4f62f", "3156232b594928b081e7"]),
    ],
)
def test_answers_that_were_kept_are_found_again(style: str, settings: dict[str, Any], keys: list[str]) -> None:
    """The keys in the ``answers.jsonl`` of runs made before: another key would ask the model again."""
    humaneval = benchmark_named("humaneval")
    asked = questions(EvaluateSettings(**settings), humaneval.problems()[:1], style_named(humaneval, style), "m", "fp")
    assert [question.key for question in asked] == keys
