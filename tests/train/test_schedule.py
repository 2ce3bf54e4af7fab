from __future__ import annotations

import pytest

from evolcoder.settings.run import TrainSettings
from evolcoder.train.schedule import learning_rate


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
