from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.settings.run import TrainSettings
from evolcoder.train.schedule import global_batch, learning_rate, micro_batch_size, micro_batches, total_steps


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
