"""The learning rate of each step. Pure: a resumed run needs no scheduler state."""

from __future__ import annotations

import math

from evolcoder.settings.run import TrainSettings


def learning_rate(settings: TrainSettings, step: int, steps: int) -> float:
    """The learning rate of step ``step`` (from 0) of ``steps``.

    It rises linearly from peak / warmup_steps to the peak over the warm-up, then falls to 0 one step after the last, by half
    a cosine (Loshchilov & Hutter 2017, eq. 5 without restarts) or linearly, or stays.
    """
    peak, warmup = settings.learning_rate, settings.warmup_steps
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(steps - warmup, 1)
    if settings.schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * progress))
    if settings.schedule == "linear":
        return peak * (1 - progress)
    return peak
