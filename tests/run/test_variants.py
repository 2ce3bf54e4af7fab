"""Which models a run trains: each once, the run's own first, and what a finished run says stays true."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import benchmarks_of, own_variant, run_variants
from evolcoder.settings.run import RunSettings
from evolcoder.stages.listing import run_stages


def settings(study: dict[str, Any], **train: Any) -> RunSettings:
    return RunSettings.model_validate({"name": "r", "evolve": {"rounds": 3}, "train": train, "study": study})


def names(study: dict[str, Any], **train: Any) -> list[str]:
    return [variant.name for variant in run_variants(settings(study, **train))]


@pytest.mark.parametrize(
    ("study", "expected"),
    [
        ({}, ["tuned"]),
        ({"base_rounds": [0, 1, 2, 3]}, ["tuned", "rounds-0", "rounds-0-1", "rounds-0-2"]),
        ({"base_rounds": [3]}, ["tuned"]),
        ({"alone": True}, ["tuned", "rounds-0", "round-1", "round-2", "round-3"]),
        ({"base_rounds": [0, 2], "alone": True}, ["tuned", "rounds-0", "rounds-0-2", "round-2"]),
        (
            {"base_rounds": [0, 1], "alone": True, "matched": "rows"},
            ["tuned", "rounds-0", "rounds-0-1", "round-0-matched-rows", "round-1-matched-rows"],
        ),
        ({"leave_out": ["constraints"]}, ["tuned", "without-constraints"]),
        ({"seeds": [0, 1]}, ["tuned", "tuned-seed-1"]),
        (
            {"base_rounds": [0], "seeds": [1, 2]},
            ["tuned", "rounds-0", "tuned-seed-1", "rounds-0-seed-1", "tuned-seed-2", "rounds-0-seed-2"],
        ),
    ],
)
def test_each_model_is_there_once(study: dict[str, Any], expected: list[str]) -> None:
    assert names(study) == expected


def test_the_runs_own_model_is_that_of_its_training_settings() -> None:
    chosen = settings({"base_rounds": [3], "seeds": [5]}, data_rounds=1, seed=5)
    assert [(v.name, v.rounds, v.seed, v.folder) for v in run_variants(chosen)] == [
        ("tuned", (0, 1), 5, "1"),
        ("rounds-0-3", (0, 1, 2, 3), 5, "3"),
    ]


studies = st.fixed_dictionaries(
    {
        "base_rounds": st.lists(st.integers(0, 3), max_size=5),
        "alone": st.booleans(),
        "leave_out": st.lists(st.sampled_from(["constraints", "complexity"]), max_size=3),
        "seeds": st.lists(st.integers(-1, 3), max_size=4),
    }
)


@given(studies, st.sampled_from([None, "rows", "tokens"]), st.none() | st.integers(0, 3), st.integers(0, 3))
def test_names_folders_and_what_decides_each_differ(
    study: dict[str, Any], matched: str | None, data_rounds: int | None, seed: int
) -> None:
    chosen = settings(study | ({"matched": matched} if study["alone"] else {}), data_rounds=data_rounds, seed=seed)
    found = run_variants(chosen)
    assert found[0] == own_variant(chosen)
    for attribute in ("name", "folder"):
        assert len({getattr(variant, attribute) for variant in found}) == len(found)
    assert len({str(variant.identity()) for variant in found}) == len(found)
    assert len({(variant.label, variant.seed) for variant in found}) == len(found)


def test_a_study_adds_stages_and_leaves_those_of_the_run_as_they_were() -> None:
    """The same folders and identities, so that nothing that was made is made again."""
    plain, studied = settings({}, base_model="embedded"), settings({"base_rounds": [0, 3], "leave_out": ["constraints"]})
    run = RunFolder.open(plain)
    before = {entry.label: entry.stage for entry in run_stages(plain, run)}
    after = {entry.label: entry.stage for entry in run_stages(studied, run)}
    assert before.keys() < after.keys()
    assert len({str(stage.folder) for stage in after.values()}) == len(after)
    for label in ("train on rounds 0-3", "evaluate tuned on humaneval", "evaluate base on humaneval"):
        assert after[label].folder == before[label].folder
    trained = before["train on rounds 0-3"]
    assert after["train on rounds 0-3"].resolved_identity == trained.resolved_identity
    assert trained.resolved_identity.keys() == {
        *plain.train.identity(), "base_model", "prompt_template",
    }  # fmt: skip
    assert str(trained.folder).endswith("train/3")


def test_models_share_the_rounds_and_each_is_scored_by_what_it_is() -> None:
    chosen = settings({"base_rounds": [0], "alone": True, "leave_out": ["constraints"], "seeds": [1]})
    stages = run_stages(chosen, RunFolder.open(chosen))
    rounds = [entry.stage for entry in stages if entry.kind == "round"]
    trainings = {entry.model: entry.stage for entry in stages if entry.kind == "train"}
    last = {"tuned": 3, "rounds-0": 0, "round-1": 1, "round-2": 2, "round-3": 3, "without-constraints": 3}
    for name, stage in trainings.items():
        assert list(stage.inputs.values()) == rounds[: last[name.removesuffix("-seed-1")] + 1]
    scored = {entry.model: entry.stage for entry in stages if entry.kind == "evaluate"}
    assert list(scored) == ["base", *trainings]
    assert all(scored[model].inputs["model"] is stage for model, stage in trainings.items())


def test_rows_that_are_matched_depend_on_all_rounds_that_they_are_matched_with() -> None:
    chosen = settings({"base_rounds": [0, 2], "alone": True, "matched": "rows"})
    assert {v.name: v.last_round for v in run_variants(chosen)} == {
        "tuned": 3, "rounds-0": 0, "rounds-0-2": 2, "round-0-matched-rows": 2, "round-2-matched-rows": 2,
    }  # fmt: skip


def test_a_study_may_score_its_models_on_other_benchmarks_than_the_run_its_own() -> None:
    plain = RunSettings.model_validate({"name": "r", "evaluate": {"benchmarks": ["humaneval", "mbpp"]}})
    assert benchmarks_of(plain, "base") == benchmarks_of(plain, "rounds-0") == ("humaneval", "mbpp")
    study = {"base_rounds": [0], "benchmarks": ["ds1000", "mbpp"]}
    chosen = RunSettings.model_validate({"name": "r", "evaluate": {"benchmarks": ["humaneval", "mbpp"]}, "study": study})
    assert benchmarks_of(chosen, "base") == benchmarks_of(chosen, "tuned") == ("humaneval", "mbpp", "ds1000")
    assert benchmarks_of(chosen, "rounds-0") == ("ds1000", "mbpp")
    scores = [(entry.model, entry.benchmark) for entry in run_stages(chosen, RunFolder.open(chosen)) if entry.benchmark]
    assert scores == [(model, name) for model in ("base", "tuned", "rounds-0") for name in benchmarks_of(chosen, model)]
