"""What step ``s`` of a training is: its learning rate, its rows, and which of them each worker takes in each micro-batch. Pure.

All of it is a function of the settings and ``s`` alone: a resumed run needs no state of a scheduler or a sampler, and a run on
another number of workers trains on the same rows in the same steps.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from evolcoder.errors import ModelError
from evolcoder.settings.run import TrainSettings

Row = TypeVar("Row")
CPU_TOKENS_PER_MICRO_BATCH = 2048
GPU_TOKENS_PER_MICRO_BATCH = 8192
"""Padding included. They decide memory and speed alone: the loss curve is the same with any micro-batch."""
PACKABLE_MODELS = frozenset({"gpt_bigcode", "llama", "qwen2", "starcoder2"})
"""Model types of which tests/train/test_packing.py holds that packed rows have the loss and the gradients of rows alone."""


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


def measures_held_out(settings: TrainSettings, step: int, steps: int) -> bool:
    """Whether the loss on what is held out is measured after step ``step`` (from 1) of ``steps``."""
    return settings.held_out > 0 and (step % settings.evaluate_steps == 0 or step == steps)


def best_step(history: Sequence[Mapping[str, Any]]) -> int | None:
    """The step after which the loss on what is held out was lowest, the first of several; None while none was measured."""
    measured = [row for row in history if "held_out_loss" in row]
    return min(measured, key=lambda row: row["held_out_loss"])["step"] if measured else None


def is_over(history: Sequence[Mapping[str, Any]], patience: int | None) -> bool:
    """Whether a training ends early: its last ``patience`` measurements were no better than one before them."""
    measured = [row["step"] for row in history if "held_out_loss" in row]
    best = best_step(history)
    return patience is not None and best is not None and len(measured) - 1 - measured.index(best) >= patience


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


def packed_micro_batches(
    batch: Sequence[Row], lengths: Sequence[int], rank: int, workers: int, capacity: int
) -> list[list[Row]]:
    """The micro-batches of one worker where rows lie one behind the other, at most ``capacity`` tokens in each, fullest first.

    All workers have as many (where there are rows enough for each), the fewest for which this finds room: the longest row goes
    where there are fewest tokens yet (Graham 1969), so that they are about even, no worker waits for another, and nothing is
    padded.

    Args:
        lengths: tokens of each row of ``batch``, none more than ``capacity``.
    """
    longest_first = sorted(range(len(batch)), key=lambda place: -lengths[place])
    count = workers * -(-sum(lengths) // (workers * capacity))
    while True:
        # A heap of (tokens, number, rows): of two that are equally full the first is taken, on every worker the same.
        packs: list[tuple[int, int, list[int]]] = [(0, number, []) for number in range(count)]
        for place in longest_first:
            tokens, number, places = heapq.heappop(packs)
            heapq.heappush(packs, (tokens + lengths[place], number, [*places, place]))
        if max(packs)[0] <= capacity:
            break
        count += workers
    packs.sort(key=lambda pack: (-pack[0], pack[1]))
    return [[batch[place] for place in places] for _, _, places in packs[rank::workers] if places]


def packs_rows(settings: TrainSettings, model_type: str) -> bool:
    """Whether rows lie one behind the other in a micro-batch of this kind of model.

    Raises:
        ModelError: it was asked for, and nobody has seen that this kind of model, with this attention, keeps them apart.
    """
    if settings.packing is True and settings.attention != "auto":
        raise ModelError(
            f"train.packing=true keeps rows apart by an attention of its own, but train.attention is {settings.attention}; set "
            "one of the two to auto."
        )
    if settings.packing is True and model_type not in PACKABLE_MODELS:
        raise ModelError(
            f"train.packing=true: it was never verified that a {model_type} model keeps packed rows apart (those that do: "
            f"{', '.join(sorted(PACKABLE_MODELS))}); set train.packing to auto or false."
        )
    return settings.packing is not False and settings.attention == "auto" and model_type in PACKABLE_MODELS


def micro_batch_size(settings: TrainSettings, gpu: bool) -> int:
    """``train.micro_batch_size``, or the largest divisor of a worker's share that keeps a micro-batch at a usual size."""
    if settings.micro_batch_size is not None:
        return settings.micro_batch_size
    share = settings.global_batch_size // settings.workers
    budget = GPU_TOKENS_PER_MICRO_BATCH if gpu else CPU_TOKENS_PER_MICRO_BATCH
    most = max(1, budget // settings.sequence_length)
    return max(size for size in range(1, min(share, most) + 1) if share % size == 0)
