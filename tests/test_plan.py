from __future__ import annotations

from pathlib import Path

import pytest

from evolcoder.plan import forecast_teaching, parameter_count, teaching_table, training_memory_gib
from evolcoder.runs import RunFolder
from evolcoder.settings import RunSettings, TrainSettings
from evolcoder.settings_files import load_preset
from evolcoder.storage.stage import FileEntry, publish_manifest

STARCODER = {
    "model_type": "gpt_bigcode",
    "n_embd": 6144,
    "n_layer": 40,
    "n_head": 48,
    "n_inner": 24576,
    "vocab_size": 49152,
    "multi_query": True,
}
SMOLLM2 = {
    "model_type": "llama",
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "intermediate_size": 1536,
    "vocab_size": 49152,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
}


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    return load_preset("wizardcoder-15b", "p", [f"storage={tmp_path}"])


def test_the_papers_run_is_two_calls_a_row_and_three_rounds(settings: RunSettings) -> None:
    teaching = forecast_teaching(settings, 20_000)
    assert teaching.calls == 120_000
    assert teaching.usd is not None
    low, likely, high = teaching.usd
    assert 0 < low < likely < high
    assert teaching.hours == pytest.approx(120_000 / 3500 / 60)


def test_completions_never_exceed_what_the_teacher_may_say(settings: RunSettings) -> None:
    short = load_preset("wizardcoder-15b", "p", [f"storage={settings.storage}", "teacher.max_tokens=10"])
    assert forecast_teaching(short, 100).completion_tokens[2] <= 100 * 3 * 2 * 10


def test_finished_rounds_are_not_paid_again_and_their_lengths_count(settings: RunSettings) -> None:
    place = RunFolder.open(settings).round(1)
    rows = [FileEntry(path="part.arrow", bytes=1, sha256="", rows=10)]
    publish_manifest(place, "round", {}, {}, rows, {"prompt_tokens": 1000, "completion_tokens": 3000})
    teaching = forecast_teaching(settings, 10)
    assert (teaching.rounds_to_do, teaching.calls, teaching.measured) == (2, 40, True)
    assert teaching.prompt_tokens[1] == 2000
    assert teaching.completion_tokens[1] == 6000


def test_no_prices_no_dollars(settings: RunSettings) -> None:
    free = load_preset("laptop", "p", [f"storage={settings.storage}", "teacher.base_url=http://x/v1", "teacher.model=m"])
    assert forecast_teaching(free, 10).usd is None


@pytest.mark.parametrize(("config", "millions"), [(STARCODER, 15_517), (SMOLLM2, 134.5)])
def test_parameters_from_a_config(config: dict[str, object], millions: float) -> None:
    count = parameter_count(config)
    assert count is not None
    assert count / 1e6 == pytest.approx(millions, rel=0.01)


def test_an_unknown_family_is_not_guessed() -> None:
    assert parameter_count({"model_type": "mamba"}) is None


@pytest.mark.parametrize(
    ("stage", "workers", "offload", "bytes_each"),
    [(0, 1, None, 16), (1, 4, None, 7), (2, 4, None, 5.5), (3, 4, None, 4), (2, 4, "optimizer", 2.5), (3, 4, "all", 0)],
)
def test_memory_by_zero_stage(stage: int, workers: int, offload: str | None, bytes_each: float) -> None:
    train = TrainSettings(precision="bf16", zero_stage=stage, workers=workers, offload=offload, global_batch_size=8)  # type: ignore[arg-type]
    assert training_memory_gib(train, 2**30) == pytest.approx(bytes_each)


def test_a_judge_is_one_more_call_a_row(settings: RunSettings) -> None:
    judged = load_preset("wizardcoder-15b", "p", [f"storage={settings.storage}", "evolve.judge=true"])
    assert forecast_teaching(judged, 20_000).calls == 180_000
    assert forecast_teaching(judged, 100).prompt_tokens > forecast_teaching(settings, 100).prompt_tokens


def test_batches_are_counted_and_take_a_day_each_at_most(tmp_path: Path) -> None:
    overrides = [f"storage={tmp_path}", "teacher.batch=true", "teacher.max_concurrency=5000"]
    batched = load_preset("wizardcoder-15b", "p", overrides)
    teaching = forecast_teaching(batched, 20_000)
    assert (teaching.batches, teaching.hours) == (3 * 2 * 4, None)
    rows = {str(row[0]): row[1:] for row in teaching_table(batched, teaching)[2]}
    assert rows["hours, when each takes its whole day"] == [None, None, 24 * 24]
