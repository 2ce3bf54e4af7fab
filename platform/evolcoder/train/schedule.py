"""What step ``s`` of a training is: its learning rate, its rows, and which of them each worker takes in each micro-batch. Pure.

All of it is a function of the settings and ``s`` alone: a resumed run needs no state of a scheduler or a sampler, and a run on
another number of workers trains on the same rows in the same steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from evolcoder.settings.run import TrainSettings

Row = TypeVar("Row")
CPU_TOKENS_PER_MICRO_BATCH = 2048
GPU_TOKENS_PER_MICRO_BATCH = 8192
"""Padding included. They decide memory and speed alone: the loss curve is the same with any micro-batch."""


def total_steps(settings: TrainSettings, rows: int) -> int:
    """Optimizer steps of a run over ``rows`` rows. The last global batch of the last epoch is filled from one epoch more."""
    if settings.max_steps is not None:
        return settings.max_steps
    assert settings.epochs is not None
    return -(-settings.epochs * rows // settings.global_batch_size)


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


def global_batch(seed: int, step: int, batch_size: int, rows: int) -> list[int]:
    """Indices of the rows of global batch ``step`` (from 0): the epochs' permutations, one after another, cut in batches."""
    indices: list[int] = []
    position, end = step * batch_size, (step + 1) * batch_size
    while position < end:
        epoch, offset = divmod(position, rows)
        count = min(rows - offset, end - position)
        # The bit generator by its name: default_rng's may change with numpy, and a resumed run would go on in another order.
        order = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(rows)
        indices += order[offset : offset + count].tolist()
        position += count
    return indices


def micro_batches(
    batch: Sequence[Row], lengths: Sequence[int], rank: int, workers: int, micro_batch_size: int
) -> list[list[Row]]:
    """The micro-batches of one worker, longest rows first.

    Rows of like length go together, on all workers at once: little padding, no worker waits for another, and a lack of
    memory shows in the first micro-batch. Every row of ``batch`` falls to exactly one worker.

    Args:
        lengths: tokens of each row of ``batch``.
    """
    by_length = sorted(range(len(batch)), key=lambda place: -lengths[place])
    starts = range(rank * micro_batch_size, len(batch), workers * micro_batch_size)
    return [[batch[place] for place in by_length[start : start + micro_batch_size]] for start in starts]


def micro_batch_size(settings: TrainSettings, gpu: bool) -> int:
    """``train.micro_batch_size``, or the largest divisor of a worker's share that keeps a micro-batch at a usual size."""
    if settings.micro_batch_size is not None:
        return settings.micro_batch_size
    share = settings.global_batch_size // settings.workers
    budget = GPU_TOKENS_PER_MICRO_BATCH if gpu else CPU_TOKENS_PER_MICRO_BATCH
    most = max(1, budget // settings.sequence_length)
    return max(size for size in range(1, min(share, most) + 1) if share % size == 0)
