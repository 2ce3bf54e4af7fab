from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.errors import ModelError
from evolcoder.settings.run import TrainSettings
from evolcoder.train.schedule import (
    best_step,
    global_batch,
    is_over,
    learning_rate,
    measures_held_out,
    micro_batch_size,
    micro_batches,
    packed_micro_batches,
    packs_rows,
    total_steps,
)


def rates(schedule: str, warmup: int = 4, steps: int = 12) -> list[float]:
    settings = TrainSettings.model_validate({"learning_rate": 1.0, "warmup_steps": warmup, "schedule": schedule})
    return [learning_rate(settings, step, steps) for step in range(steps)]


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_the_warm_up_rises_in_equal_steps_to_the_peak(schedule: str) -> None:
    assert rates(schedule)[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


def test_cosine_is_half_way_down_in_the_middle_and_never_zero() -> None:
    falling = rates("cosine")[4:]
    assert falling[4] == pytest.approx(0.5)
    assert falling == sorted(falling, reverse=True)
    assert 0 < falling[-1] < 0.05


def test_linear_falls_in_equal_steps() -> None:
    assert rates("linear")[4:] == pytest.approx([1 - n / 8 for n in range(8)])


def test_constant_stays() -> None:
    assert set(rates("constant")[3:]) == {1.0}


def test_no_warm_up_starts_at_the_peak_and_a_run_may_end_within_it() -> None:
    assert rates("cosine", warmup=0)[0] == 1.0
    assert rates("cosine", warmup=10, steps=5) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_agrees_with_the_cosine_schedule_of_transformers() -> None:
    """Theirs starts its warm-up at 0, one step earlier; after the warm-up both are the same."""
    import torch
    from transformers import get_cosine_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=4, num_training_steps=12)
    for step, ours in enumerate(rates("cosine")):
        if step >= 4:
            assert theirs.get_last_lr()[0] == pytest.approx(ours)
        optimizer.step()
        theirs.step()


@given(st.integers(0, 9), st.integers(1, 40), st.integers(1, 12), st.integers(1, 4))
def test_an_epoch_holds_every_row_once(seed: int, rows: int, batch_size: int, epochs: int) -> None:
    steps = -(-epochs * rows // batch_size)
    sequence = [index for step in range(steps) for index in global_batch(seed, step, batch_size, rows)]
    for epoch in range(epochs):
        assert sorted(sequence[epoch * rows : (epoch + 1) * rows]) == list(range(rows))


def test_the_order_depends_on_the_seed_and_differs_between_epochs() -> None:
    epochs = [global_batch(seed=0, step=epoch, batch_size=50, rows=50) for epoch in range(3)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert global_batch(seed=1, step=0, batch_size=50, rows=50) != epochs[0]


@given(st.lists(st.integers(1, 99), min_size=8, max_size=8), st.sampled_from([(1, 1), (1, 8), (2, 2), (2, 4), (4, 1), (8, 1)]))
def test_every_row_of_a_batch_falls_to_exactly_one_worker(lengths: list[int], layout: tuple[int, int]) -> None:
    workers, size = layout
    indices = [3, 1, 4, 1, 5, 9, 2, 6]
    dealt = [micro_batches(indices, lengths, rank, workers, size) for rank in range(workers)]
    assert Counter(index for worker in dealt for micro in worker for index in micro) == Counter(indices)
    assert {len(worker) for worker in dealt} == {8 // (workers * size)}
    assert {len(micro) for worker in dealt for micro in worker} == {size}


def test_rows_of_like_length_go_together_longest_first() -> None:
    assert micro_batches([10, 11, 12, 13], [5, 9, 6, 8], rank=0, workers=1, micro_batch_size=2) == [[11, 13], [12, 10]]
    assert micro_batches([10, 11, 12, 13], [5, 9, 6, 8], rank=1, workers=2, micro_batch_size=1) == [[13], [10]]


@given(st.lists(st.integers(1, 50), min_size=8, max_size=8), st.sampled_from([1, 2, 4, 8]), st.integers(50, 400))
def test_packed_rows_fall_to_exactly_one_worker_and_fit(lengths: list[int], workers: int, capacity: int) -> None:
    rows = list(range(8))
    dealt = [packed_micro_batches(rows, lengths, rank, workers, capacity) for rank in range(workers)]
    assert sorted(row for worker in dealt for micro in worker for row in micro) == rows
    assert len({len(worker) for worker in dealt}) == 1
    assert all(0 < sum(lengths[row] for row in micro) <= capacity for worker in dealt for micro in worker)


@given(st.lists(st.integers(20, 500), min_size=64, max_size=64))
def test_packs_are_few_and_even(lengths: list[int]) -> None:
    packs = packed_micro_batches(range(64), lengths, 0, 1, 2048)
    sizes = [sum(lengths[row] for row in pack) for pack in packs]
    assert len(packs) <= -(-sum(lengths) // 2048) + 1
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) - min(sizes) <= max(lengths)


def test_packing_is_left_to_the_kinds_of_model_that_keep_rows_apart() -> None:
    assert packs_rows(TrainSettings(), "llama")
    assert packs_rows(TrainSettings(packing=True), "gpt_bigcode")
    assert not packs_rows(TrainSettings(packing=False), "llama")
    assert not packs_rows(TrainSettings(), "codegen")
    assert not packs_rows(TrainSettings(attention="eager"), "llama")
    with pytest.raises(ModelError, match=r"train.packing=true keeps rows apart .*, but train.attention is sdpa"):
        packs_rows(TrainSettings(packing=True, attention="sdpa"), "llama")
    with pytest.raises(ModelError, match=r"a codegen model .*gpt_bigcode, llama, qwen2, starcoder2.* auto or false"):
        packs_rows(TrainSettings(packing=True), "codegen")


def measured(*losses: float | None) -> list[dict[str, Any]]:
    """A training whose loss on what is held out was measured after some steps."""
    rows: list[dict[str, Any]] = [{"step": step} for step in range(1, len(losses) + 1)]
    return [row if loss is None else row | {"held_out_loss": loss} for row, loss in zip(rows, losses, strict=True)]


def test_a_training_ends_early_when_nothing_got_better_for_as_long_as_patience_says() -> None:
    assert best_step(measured(None, None)) is None
    assert best_step(measured(None, 3.0, None, 2.0, None, 2.0, None, 2.5)) == 4
    flat = [None, 3.0, None, 2.0, None, 2.0, None]
    assert not is_over(measured(*flat), 2)
    assert is_over(measured(*flat, 2.5), 2)
    assert not is_over(measured(*flat, 1.9), 2)
    assert not is_over(measured(*flat, 2.5), None)
    assert not is_over(measured(None), 1)


def test_what_is_held_out_is_measured_every_so_often_and_at_the_end() -> None:
    settings = TrainSettings(held_out=0.1, evaluate_steps=4)
    assert [step for step in range(1, 11) if measures_held_out(settings, step, 10)] == [4, 8, 10]
    assert not any(measures_held_out(TrainSettings(evaluate_steps=4), step, 10) for step in range(1, 11))


def test_steps_come_from_the_settings_or_from_the_epochs() -> None:
    assert total_steps(TrainSettings(max_steps=200, global_batch_size=512), rows=10) == 200
    assert total_steps(TrainSettings(max_steps=None, epochs=3, global_batch_size=4), rows=10) == 8


@pytest.mark.parametrize(
    ("share", "length", "gpu", "expected"), [(8, 512, False, 4), (6, 512, False, 3), (8, 4096, False, 1), (64, 2048, True, 4)]
)
def test_the_automatic_micro_batch_divides_the_share_and_bounds_the_tokens(
    share: int, length: int, gpu: bool, expected: int
) -> None:
    settings = TrainSettings(global_batch_size=2 * share, workers=2, sequence_length=length)
    assert micro_batch_size(settings, gpu) == expected


def test_a_given_micro_batch_is_taken() -> None:
    assert micro_batch_size(TrainSettings(global_batch_size=8, micro_batch_size=8), gpu=False) == 8
