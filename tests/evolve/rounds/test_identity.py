"""What makes a round be made anew, and what does not."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
from tests.evolve.rows import seed

from evolcoder.console import Reporter
from evolcoder.endpoint.journal.epoch import Epoch
from evolcoder.endpoint.limits.ledger import TeacherLimits
from evolcoder.endpoint.requests import Endpoint
from evolcoder.evolve.rounds.identity import round_identity, round_stages, seeds_identity
from evolcoder.evolve.rounds.shards import PART_NAME, write_shard
from evolcoder.evolve.rounds.worker import Round, Teacher
from evolcoder.evolve.rules.evolution import FORMAT_BEFORE
from evolcoder.evolve.seeds.load import load_seeds
from evolcoder.run.folder import RunFolder
from evolcoder.settings.files import parse_settings
from evolcoder.settings.run import RunSettings
from evolcoder.storage.stage import Stage


def settings_with(**evolve: Any) -> RunSettings:
    return parse_settings({"name": "r", "evolve": evolve}, "the test")


PLAIN = settings_with()


@pytest.mark.parametrize(
    "evolve",
    [
        {"decontaminate": []},
        {"decontaminate": ["humaneval", "mbpp"]},
        {"dedup": {"near": False}},
        {"dedup": {"threshold": 0.8}},
    ],
)
def test_what_falls_as_a_copy_is_part_of_every_round(evolve: dict[str, Any]) -> None:
    other = settings_with(**evolve)
    assert round_identity(other) != round_identity(PLAIN)
    assert seeds_identity(other, [seed("a")]) != seeds_identity(PLAIN, [seed("a")])


@pytest.mark.parametrize(
    "evolve",
    [{"judge": True}, {"operators": ["complexity"]}, {"operators": [{"name": "complexity", "weight": 2}]}, {"seed": 1}],
)
def test_what_the_teacher_is_asked_is_part_of_later_rounds_alone(evolve: dict[str, Any]) -> None:
    other = settings_with(**evolve)
    assert round_identity(other) != round_identity(PLAIN)
    assert seeds_identity(other, [seed("a")]) == seeds_identity(PLAIN, [seed("a")])


@pytest.mark.parametrize("evolve", [{"workers": 7}, {"rounds": 5}])
def test_how_fast_and_how_many_are_no_part(evolve: dict[str, Any]) -> None:
    assert round_identity(settings_with(**evolve)) == round_identity(PLAIN)


def test_one_way_to_say_it_is_as_good_as_another() -> None:
    one = settings_with(decontaminate=["mbpp", "humaneval"], operators=["complexity", "constraints"])
    other = settings_with(decontaminate=["humaneval", "mbpp"], operators=[{"name": "complexity"}, "constraints"])
    assert round_identity(one) == round_identity(other)


def test_the_checksums_are_in_it() -> None:
    known = round_identity(PLAIN)["decontaminate"]["benchmarks"]
    assert known["humaneval"].startswith("b796127e")


@pytest.mark.parametrize(
    ("response", "damaged", "kind"),
    [("x = 1", False, "done"), ("<think>one?</think>\nx = 1", False, "stale"), ("x = 1", True, "stale")],
)
def test_a_round_of_the_format_before_stays_done_unless_it_holds_thinking(
    tmp_path: Path, response: str, damaged: bool, kind: str
) -> None:
    settings = settings_with(rounds=1).model_copy(update={"storage": str(tmp_path)})
    run = RunFolder.open(settings)
    seeds, first = round_stages(settings, run, lambda: [seed("a")])
    seeds.begin()
    seeds.publish([])
    made = dataclasses.replace(first, identity=round_identity(settings) | {"format": FORMAT_BEFORE})
    folder = made.begin()
    part = PART_NAME.format(0)
    made.publish(write_shard(folder, part, [dataclasses.replace(seed("a"), response=response)]))
    if damaged:
        folder.delete(part)
    assert round_stages(settings, run, lambda: [seed("a")])[1].state().kind == kind


def test_a_plan_carries_operators_and_the_judge() -> None:
    settings = settings_with(judge=True, operators=["complexity"])
    run = RunFolder.open(settings)
    teacher = Teacher([Endpoint("http://127.0.0.1:1", "teacher")], Epoch(run.journal, 1, "token"), TeacherLimits(), None)
    plan = Round(settings, run, 2, Stage("round 02", run.round(2), {}), 1, 1, teacher).job(1).plan
    assert (plan.round, plan.model, plan.evolve.judge) == (2, "teacher", True)
    assert [operator.name for operator in plan.operators] == ["complexity"]


def test_seeds_that_were_stored_without_their_spaces_stay_done_until_a_file_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_text(json.dumps({"instruction": "Add.  \nNow.", "output": "  x = 1"}))
    settings = parse_settings(
        {"name": "r", "storage": str(tmp_path), "seeds": {"path": str(tmp_path / "seeds.jsonl")}}, "the test"
    )
    run = RunFolder.open(settings)
    (given,) = load_seeds(settings.seeds, Reporter("plain", io.StringIO()))
    stored = dataclasses.replace(given, instruction="Add.\nNow.", response="x = 1")
    files = write_shard(run.round(0), PART_NAME.format(0), [stored])
    Stage("round 00", run.round(0), seeds_identity(settings, [stored])).publish(files)
    assert round_stages(settings, run)[0].state().kind == "done"
    other = settings.model_copy(update={"evolve": settings.evolve.model_copy(update={"rows_per_shard": 7})})
    assert round_stages(other, run)[0].state().kind == "stale"
    run.round(0).write_text(PART_NAME.format(0), "broken")
    assert round_stages(settings, run)[0].state().kind == "stale"
