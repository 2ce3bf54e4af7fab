from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.settings.run import TrainSettings
from evolcoder.train.schedule import global_batch, micro_batch_size, micro_batches, total_steps


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
