from __future__ import annotations

from pathlib import Path

import pytest

from evolcoder.plan import evolve_table, forecast_evolve, scores_table, study_table, training_memory_gib
from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import run_variants
from evolcoder.settings.files import load_preset
from evolcoder.settings.run import RunSettings, TrainSettings
from evolcoder.storage.stage import FileEntry, Stage


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


@pytest.mark.parametrize(
    ("stage", "workers", "offload", "bytes_each"),
    [(0, 1, None, 16), (1, 4, None, 7), (2, 4, None, 5.5), (3, 4, None, 4), (2, 4, "optimizer", 2.5), (3, 4, "all", 0)],
)
def test_memory_by_zero_stage(stage: int, workers: int, offload: str | None, bytes_each: float) -> None:
    train = TrainSettings(precision="bf16", zero_stage=stage, workers=workers, offload=offload, global_batch_size=8)  # type: ignore[arg-type]
    assert training_memory_gib(train, 2**30) == pytest.approx(bytes_each)


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
