from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evolcoder.plan import (
    TrainingPace,
    evolve_table,
    forecast_evolve,
    memory_table,
    scores_table,
    study_table,
    training_table,
)
from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import run_variants
from evolcoder.settings.files import load_preset
from evolcoder.settings.run import RunSettings, TrainSettings
from evolcoder.storage.stage import FileEntry, Stage
from evolcoder.train.shape import ModelShape, with_adapter_of


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    return load_preset("wizardcoder-15b", "p", [f"storage={tmp_path}"])


def test_the_papers_run_is_two_calls_a_row_and_three_rounds(settings: RunSettings) -> None:
    forecast = forecast_evolve(settings, 20_000)
    assert forecast.calls == 120_000
    assert forecast.usd is not None
    low, likely, high = forecast.usd
    assert 0 < low < likely < high
    assert forecast.hours == pytest.approx(120_000 / 3500 / 60)


def test_completions_never_exceed_what_the_teacher_may_say(settings: RunSettings) -> None:
    short = load_preset("wizardcoder-15b", "p", [f"storage={settings.storage}", "teacher.max_tokens=10"])
    assert forecast_evolve(short, 100).completion_tokens[2] <= 100 * 3 * 2 * 10


def test_finished_rounds_are_not_paid_again_and_their_lengths_count(settings: RunSettings) -> None:
    place = RunFolder.open(settings).round(1)
    rows = [FileEntry(path="part.arrow", bytes=1, sha256="", rows=10)]
    first = Stage("round", place, {}).publish(rows, {"prompt_tokens": 1000, "completion_tokens": 3000})
    seeds = Stage("round", RunFolder.open(settings).round(0), {}).publish([], {"kept": 10})
    forecast = forecast_evolve(settings, 10, [seeds, first])
    assert (forecast.rounds_to_do, forecast.calls, forecast.measured) == (2, 40, True)
    assert forecast.prompt_tokens[1] == 2000
    assert forecast.completion_tokens[1] == 6000


def test_no_prices_no_dollars(settings: RunSettings) -> None:
    free = load_preset("laptop", "p", [f"storage={settings.storage}", "teacher.base_url=http://x/v1", "teacher.model=m"])
    assert forecast_evolve(free, 10).usd is None


QWEN_7B = ModelShape(
    parameters=7_615_616_512, layers=28, hidden=3584, queries=3584, keys=512, inner=18944, vocabulary=152064, tied=False,
    learned_positions=0, gated=True, dropout=False,
)  # fmt: skip


@pytest.mark.parametrize(
    ("preset", "workers", "fits"), [("full-8x80gb", 8, True), ("full-8x80gb", 1, False), ("lora-4x24gb", 4, True)]
)
def test_presets_for_gpus_fit_as_many_as_they_name(preset: str, workers: int, fits: bool, tmp_path: Path) -> None:
    train = load_preset(preset, "p", [f"storage={tmp_path}", f"train.workers={workers}"]).train
    shape = QWEN_7B if train.lora is None else with_adapter_of(QWEN_7B, train.lora.rank)
    title, columns, rows = memory_table(train, shape)
    assert title == f"Memory of a worker of {train.workers}, 7,615,616,512 parameters"
    labels = [str(row[0]) for row in rows]
    assert {label.endswith(", fits") for label in labels[:4]} == {fits}
    assert [label for label in labels if "chosen" in label] == [f"GPU, ZeRO 2 (chosen), {'fits' if fits else 'does not fit'}"]
    assert labels[4].startswith("CPU")
    for row in rows[:4]:
        *parts, total = (float(str(cell)) for cell in row[1 : len(columns) - 1])
        assert sum(parts) == pytest.approx(total, abs=0.3)


@pytest.mark.parametrize(
    ("train", "labels"),
    [
        ({"offload": "all", "zero_stage": 3}, ["GPU, ZeRO 3 (chosen)", "CPU, ZeRO 3"]),
        ({"offload": "optimizer", "zero_stage": 1}, ["GPU, ZeRO 1 (chosen)", "GPU, ZeRO 2", "GPU, ZeRO 3", "CPU, ZeRO 1"]),
        ({"precision": "fp16", "zero_stage": 3}, ["GPU, ZeRO 0", "GPU, ZeRO 1", "GPU, ZeRO 2", "GPU, ZeRO 3 (chosen)"]),
    ],
)
def test_memory_is_said_of_what_can_be_run(train: dict[str, Any], labels: list[str]) -> None:
    assert [row[0] for row in memory_table(TrainSettings.model_validate(train), QWEN_7B)[2]] == labels


def test_memory_of_a_model_that_is_not_here_is_not_known() -> None:
    title, _, rows = memory_table(TrainSettings(), None)
    assert (title, rows) == (
        "Memory of a worker: not known, for the base model is not on this machine, or of an unknown kind",
        [],
    )


def test_hours_and_dollars_of_training_follow_the_pace_that_is_stated_before_the_measured_one(tmp_path: Path) -> None:
    stated = ["train.tokens_per_second=10000", "train.usd_per_gpu_hour=2.5", f"storage={tmp_path}"]
    settings = load_preset("full-8x80gb", "p", stated)
    rows = {str(row[0]): row[1] for row in training_table(settings, forecast_evolve(settings, 1000))[2]}
    tokens = 2 * 4 * 1000 * 600  # two epochs of seeds and three rounds
    assert rows["tokens, of typical rows"] == pytest.approx(tokens, rel=0.07)  # the last batch is filled
    hours = rows["hours at 10,000 tokens a second"]
    assert hours == pytest.approx(tokens / 10_000 / 3600, rel=0.07)
    assert rows["dollars of 8 GPUs"] == pytest.approx(float(str(hours)) * 8 * 2.5, rel=0.05)
    unstated = load_preset("full-8x80gb", "p", [f"storage={tmp_path}"])
    measured = training_table(unstated, forecast_evolve(settings, 1000), TrainingPace(300, 5000))[2]
    found = {str(row[0]): row[1] for row in measured}
    assert found["hours at 5,000 tokens a second"] == pytest.approx(tokens / 2 / 5000 / 3600, rel=0.07)
    unknown = [str(row[1]) for row in training_table(unstated, forecast_evolve(settings, 1000))[2]]
    assert "not known: set train.tokens_per_second, of all workers together, or train once" in unknown


def test_a_judge_is_one_more_call_a_row(settings: RunSettings) -> None:
    judged = load_preset("wizardcoder-15b", "p", [f"storage={settings.storage}", "evolve.judge=true"])
    assert forecast_evolve(judged, 20_000).calls == 180_000
    assert forecast_evolve(judged, 100).prompt_tokens > forecast_evolve(settings, 100).prompt_tokens


def test_batches_are_counted_and_take_a_day_each_at_most(tmp_path: Path) -> None:
    overrides = [f"storage={tmp_path}", "teacher.batch=true", "teacher.max_concurrency=5000"]
    batched = load_preset("wizardcoder-15b", "p", overrides)
    forecast = forecast_evolve(batched, 20_000)
    assert (forecast.batches, forecast.hours) == (3 * 2 * 4, None)
    rows = {str(row[0]): row[1:] for row in evolve_table(batched, forecast)[2]}
    assert rows["hours, when each takes its whole day"] == [None, None, 24 * 24]


def test_a_study_is_forecast_model_by_model_and_what_is_done_is_not_counted_again(tmp_path: Path) -> None:
    overrides = [
        f"storage={tmp_path}",
        "evolve.rounds=2",
        "train.max_steps=null",
        "train.epochs=1",
        "train.global_batch_size=8",
    ]
    chosen = load_preset("laptop", "p", [*overrides, "study.base_rounds=[0,1,2]", "study.seeds=[0,1]"])
    forecast = forecast_evolve(chosen, 24)
    title, columns, rows = study_table(chosen, run_variants(chosen), forecast, {"rounds-0"}, {"0": 24, "1": 20})
    assert columns[3:] == ["rows, at most", "steps", "state"]
    assert [[row[0], *row[3:]] for row in rows] == [
        ["tuned", 68, 9, "to do"], ["rounds-0", 24, 3, "done"], ["rounds-0-1", 44, 6, "to do"],
        ["tuned-seed-1", 68, 9, "to do"], ["rounds-0-seed-1", 24, 3, "to do"], ["rounds-0-1-seed-1", 44, 6, "to do"],
    ]  # fmt: skip
    assert title == "Study: 6 models, 5 to train in 33 steps"


def test_scores_are_counted_by_benchmark_in_questions() -> None:
    wanted = [("base", "humaneval"), ("tuned", "humaneval"), ("tuned", "mbpp")]
    title, _, rows = scores_table(wanted, {("base", "humaneval")}, {"humaneval": 820, "mbpp": 2500})
    assert rows == [["humaneval", 820, 2, 1, 820], ["mbpp", 2500, 1, 0, 2500]]
    assert title == "Evaluate: 3 scores of 2 models, 3,320 questions to ask"
    title, _, rows = scores_table(wanted, set(), {"humaneval": 820, "mbpp": None})
    assert rows[1] == ["mbpp", None, 1, 0, None]
    assert title.endswith("1,640 questions to ask and those of benchmarks whose data is not here (`evolcoder data list`)")
