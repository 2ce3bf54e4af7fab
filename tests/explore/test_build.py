"""The folder of pages: when it is made, of what, and what it never touches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.explore.made import (
    HOSTILE,
    TASKS,
    decode,
    instruction,
    made_settings,
    make_run,
    quiet,
    write_evaluation,
    write_round,
)

import evolcoder.explore.build
from evolcoder.errors import RunFolderError
from evolcoder.explore.build import INDEX, make_pages
from evolcoder.run.folder import RunFolder
from evolcoder.settings.run import RunSettings
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Stage, verified_manifest


def shard(folder: Folder, name: str) -> Any:
    text = folder.read_text(f"data/{name}.js")
    registered, value = json.loads(text.removeprefix("explorerShard(...").removesuffix(");\n"))
    assert registered == name
    return value


def find(folder: Folder, word: str, index: str = "instructions") -> list[int]:
    for number in range(len(shard(folder, "run")["rows"]["indexes"][index])):
        words, lists = shard(folder, f"{index}/{number}")
        if word in words:
            return decode(lists[words.index(word)])
    return []


@pytest.fixture
def site(settings: RunSettings, run: RunFolder, tmp_path: Path) -> Folder:
    folder = Folder.open(tmp_path / "site")
    make_pages(settings, run, folder, quiet())
    return folder


def test_rows_stand_family_by_family_with_what_was_found_against_them(site: Folder) -> None:
    rows = shard(site, "rows/0")
    assert [row["id"] for row in rows[:6]] == ["a-0", "a-1", "a-2", "b-0", "b-1", "c-0"]
    assert [row["family"] for row in rows[:6]] == [[0, 3], [0, 3], [0, 3], [3, 2], [3, 2], [5, 1]]
    assert rows[5]["evidence"] == [{"duplicate_of": "a-0", "kind": "near", "similarity": 0.91}]
    assert rows[4]["evidence"][0]["task_id"] == "HumanEval/10"
    assert [row["language"] for row in rows[:4]] == ["Python", "Python", "not said", "JavaScript"]


def test_every_row_is_found_by_word_by_id_and_by_what_it_is(site: Folder) -> None:
    assert find(site, "sort") == [0, 1, 2, 5]
    assert find(site, "31") == [0]  # of a seed's input
    assert find(site, "print", "responses") == [0, 1, 4, 5, 17]
    assert find(site, "=id:b-1") == [4]
    assert find(site, "=family:b") == [3]
    assert find(site, "=reason:duplicate") == [5]
    assert find(site, "=round:1") == [1, 4]
    assert find(site, "=problem:humaneval HumanEval/10") == [4]
    assert find(site, "=status:kept") == [0, 1, 3, *range(6, 7 + len(HOSTILE))]


def test_the_counts_are_those_of_the_rows(site: Folder) -> None:
    rows = shard(site, "run")["rows"]
    assert rows["count"] == 7 + len(HOSTILE)
    assert rows["rounds"][1:] == [{"round": 1, "kept": 1, "eliminated": 1}, {"round": 2, "kept": 0, "eliminated": 1}]
    assert [(one["reason"], one["by_round"]) for one in rows["reasons"]] == [
        ("contaminated", [[1, 1]]),
        ("duplicate", [[0, 1]]),
        ("truncated_response", [[2, 1]]),
    ]
    assert all(one["meaning"] for one in rows["reasons"])


def test_every_answer_of_every_model_is_there_with_its_verdict(site: Folder) -> None:
    (benchmark,) = shard(site, "run")["benchmarks"]
    assert [model["name"] for model in benchmark["models"]] == ["base", "tuned", "rounds-0"]
    listed = shard(site, "problems/0/list")
    assert listed["tasks"] == sorted(TASKS, key=lambda task: (task.startswith("Odd"), task == "HumanEval/10"))
    assert [entry[0] for entry in listed["models"][1]] == [1, 1, 1, 0, 0]
    sample = shard(site, "problems/0/1/3")[0]
    assert (sample["status"], sample["program"], sample["prompt"]) == (
        "failed",
        "program of HumanEval/10",
        "Solve HumanEval/10",
    )
    assert sample["answer"] == "\n".join(HOSTILE) + " 0"


def test_samples_of_one_problem_come_together_and_a_model_may_lack_a_problem(
    settings: RunSettings, run: RunFolder, tmp_path: Path
) -> None:
    several = {"HumanEval/0": ["failed", "passed", "passed"], "HumanEval/7": ["timeout", "failed", "failed"]}
    write_evaluation(run.evaluation("base", "humaneval"), several)
    site = Folder.open(tmp_path / "site")
    make_pages(settings, run, site, quiet())
    listed = shard(site, "problems/0/list")
    by_task = dict(zip(listed["tasks"], listed["models"][0], strict=True))
    assert (by_task["HumanEval/0"], by_task["HumanEval/7"], by_task["HumanEval/1"]) == (
        [2, 3, "failed"],
        [0, 3, "timeout"],
        None,
    )
    samples = shard(site, f"problems/0/0/{listed['tasks'].index('HumanEval/0')}")
    assert [(sample["sample"], sample["status"]) for sample in samples] == [(0, "failed"), (1, "passed"), (2, "passed")]


def test_no_name_of_a_run_becomes_a_path(site: Folder) -> None:
    names = site.names(recursive=True)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789/.") for name in names)
    manifest = verified_manifest(site)
    assert manifest is not None
    assert {entry.path for entry in manifest.files} == set(names) - {"manifest.json"}


def test_pages_are_made_anew_only_when_what_they_show_changed(settings: RunSettings, run: RunFolder, site: Folder) -> None:
    before = verified_manifest(site)
    assert make_pages(settings, run, site, quiet()) == before
    write_round(run, 2, [instruction("a-2", "a", 2, "Sort what is new.")])
    make_pages(settings, run, site, quiet())
    assert verified_manifest(site) != before
    assert shard(site, "rows/0")[2]["instruction"] == "Sort what is new."
    site.write_text("data/rows/0.js", "changed by hand")
    make_pages(settings, run, site, quiet())
    assert shard(site, "rows/0")[2]["instruction"] == "Sort what is new."


def test_a_study_that_is_not_finished_shows_what_is_there(settings: RunSettings, run: RunFolder, tmp_path: Path) -> None:
    run.round(1).delete("manifest.json")
    run.root.delete("evaluate/tuned")
    site = Folder.open(tmp_path / "site")
    make_pages(settings, run, site, quiet())
    told = shard(site, "run")
    assert [one["round"] for one in told["rows"]["rounds"]] == [0]  # round 2 came from a round 1 that is not there
    assert [model["name"] for model in told["benchmarks"][0]["models"]] == ["base", "rounds-0"]


def test_scores_without_rounds_are_shown(settings: RunSettings, tmp_path: Path) -> None:
    run = RunFolder.open(settings)
    write_evaluation(run.evaluation("base", "humaneval"), {"HumanEval/0": ["passed"]})
    site = Folder.open(tmp_path / "site")
    make_pages(settings, run, site, quiet())
    assert shard(site, "run")["rows"]["count"] == 0


def test_a_run_that_has_nothing_says_what_to_do_and_makes_nothing(settings: RunSettings, tmp_path: Path) -> None:
    run = RunFolder.open(settings)
    with pytest.raises(RunFolderError, match="no finished stage yet; run `evolcoder evolve`"):
        make_pages(settings, run, run.root / "explore", quiet())
    assert not list(tmp_path.iterdir())


def test_a_folder_with_other_files_is_left_alone(settings: RunSettings, run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "mine/data").mkdir(parents=True)
    (tmp_path / "mine/data/thesis.txt").write_text("years")
    with pytest.raises(RunFolderError, match="holds other files"):
        make_pages(settings, run, Folder.open(tmp_path / "mine"), quiet())
    with pytest.raises(RunFolderError, match="holds other files"):
        make_pages(settings, run, run.root, quiet())
    assert (tmp_path / "mine/data/thesis.txt").read_text() == "years"


def test_pages_that_were_killed_in_the_making_are_made_again(
    settings: RunSettings, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Folder.open(tmp_path / "site")
    with monkeypatch.context() as patch:
        patch.setattr(evolcoder.explore.build, "write_rows", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            make_pages(settings, run, site, quiet())
    assert verified_manifest(site) is None
    make_pages(settings, run, site, quiet())
    assert verified_manifest(site) is not None


def test_damage_is_said_and_not_shown(settings: RunSettings, run: RunFolder, tmp_path: Path) -> None:
    run.round(1).write_text("duplicates.json", "{}")
    with pytest.raises(RunFolderError, match=r"duplicates\.json is missing or changed"):
        make_pages(settings, run, Folder.open(tmp_path / "site"), quiet())


@pytest.mark.parametrize("error", [FileNotFoundError("gone"), pa.ArrowInvalid("half a file")])
def test_a_stage_that_is_made_anew_meanwhile_is_said(
    settings: RunSettings, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(evolcoder.explore.build, "write_rows", fails)
    with pytest.raises(RunFolderError, match=r"changed while it was read.*again"):
        make_pages(settings, run, Folder.open(tmp_path / "site"), quiet())


def test_answers_of_other_questions_than_the_verdicts_are_refused(
    settings: RunSettings, run: RunFolder, tmp_path: Path
) -> None:
    place = run.evaluation("base", "humaneval")
    answers = place.read_bytes("completions.arrow")
    write_evaluation(place, {"HumanEval/0": ["passed"]})
    place.write_bytes("completions.arrow", answers)
    place.delete("manifest.json")
    Stage("evaluate", place, {}).publish(place.names())
    with pytest.raises(RunFolderError, match="not of the same questions"):
        make_pages(settings, run, Folder.open(tmp_path / "site"), quiet())


def test_a_run_and_its_pages_may_lie_on_other_storage() -> None:
    settings = made_settings("memory://bucket/runs")
    run = make_run(settings)
    site = Folder.open("memory://bucket/site")
    make_pages(settings, run, site, quiet())
    assert len(shard(site, "rows/0")) == 8
    assert site.exists(INDEX)
