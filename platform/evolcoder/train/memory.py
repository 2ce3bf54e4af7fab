"""How many bytes a training worker will hold at most, by part, and what fits a GPU. Pure.

It counts tensors; what a process holds besides is its caller's to add. tests/train/test_memory.py sets it beside a measurement.
"""

from __future__ import annotations

from dataclasses import dataclass

from evolcoder.settings.run import TrainSettings
from evolcoder.train.deepspeed import MOST_REDUCED_TOGETHER, Precision, overlaps_communication
from evolcoder.train.schedule import micro_batch_size
from evolcoder.train.shape import ModelShape

CHUNK_LOGITS = 1 << 24
"""How many logits the loss looks at together: 64 MiB of them in 32 bits."""
USABLE_SHARE = 0.92
"""Of a GPU's memory: the rest is the driver's, NCCL's, and lost between blocks."""
PROCESS_BYTES = int(0.85e9)
"""What a worker on a CPU holds beside its tensors: Python, torch and Ray."""
_HOLES = 1.5
"""How much more a CPU's heap grows than activations are large: micro-batches differ in size, and leave holes in it."""
LARGE_MODEL_PARAMETERS = 1_000_000_000
_KERNEL_TOKENS = 4096
"""With fewer in a micro-batch a GPU has less to do in each kernel than it could, and recomputing costs less than that."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one worker. ``optimizer``: the 32-bit weights where there are other ones, and Adam's two moments."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits


def forecast_memory(
    train: TrainSettings, shape: ModelShape, precision: Precision, gpu: bool, tokens: int, recompute: bool
) -> Memory:
    """What a worker of this training holds at its peak.

    ZeRO stage 1 divides the optimizer's part among the workers, stage 2 also the gradients, stage 3 also the weights
    (Rajbhandari et al. 2020, section 3); offloading moves the optimizer's part, or also what stage 3 divides, to the host.

    Args:
        tokens: in a micro-batch, at most. recompute: whether activations are computed again instead of kept.
    """
    width = 4 if precision == "fp32" else 2
    stage = max(train.zero_stage, 0 if precision == "fp32" else 1)
    of_optimizer, of_gradients, of_weights = (train.workers if stage >= least else 1 for least in (1, 2, 3))
    weights = width * shape.parameters / of_weights
    gradients = 4 * shape.trained / of_gradients
    optimizer = (12 if stage else 8) * shape.trained / of_optimizer
    if train.offload is not None and gpu:
        optimizer = gradients = 0
        if train.offload == "all":
            weights = 0
    if stage:  # gradients on their way to the others
        gradients += width * min(MOST_REDUCED_TOGETHER, shape.trained) * (1 + overlaps_communication(train, gpu))
    kept = layer_elements(shape)
    elements = shape.layers * shape.hidden + kept if recompute else shape.layers * kept
    # Gradients of activations: at the widest place of a layer three of them are alive.
    working = 3 * max(shape.inner, shape.queries)
    logits = tokens * shape.vocabulary
    logits = width * logits + 3 * 4 * min(logits, CHUNK_LOGITS)
    activations = width * tokens * (elements + working) * (1 if gpu else _HOLES)
    return Memory(*(int(part) for part in (weights, gradients, optimizer, activations, logits)))


def layer_elements(shape: ModelShape) -> int:
    """Elements in the working precision that one layer keeps for the backward pass, for each token.

    Of a plain layer: both norms' inputs and outputs, the queries, keys and values, what attention made of them, and the MLP's
    input to its nonlinearity and its output. A gate doubles the MLP's, and the norms beside it keep copies in 32 bits.
    """
    hidden, inner = (8, 4) if shape.gated else (4, 2)
    return hidden * shape.hidden + inner * shape.inner + 3 * shape.queries + 2 * shape.keys + shape.dropout * shape.hidden


def on_cpu(train: TrainSettings, shape: ModelShape | None) -> tuple[int, bool]:
    """Rows in a micro-batch, and whether to recompute activations, on a CPU, whose memory is not looked at: of large models."""
    recompute = train.gradient_checkpointing
    if recompute == "auto":
        recompute = shape is not None and shape.parameters > LARGE_MODEL_PARAMETERS
    return micro_batch_size(train, gpu=False), recompute


def fitting(train: TrainSettings, shape: ModelShape, precision: Precision, gpu_bytes: int) -> tuple[int, bool]:
    """Rows in a micro-batch, and whether to recompute activations, on GPUs of this size, where the settings leave it open.

    Activations are kept if they fit, in smaller micro-batches if need be; else they are computed again, in micro-batches of the
    usual size, or the largest that fits. Both decide memory and speed alone.
    """
    share = train.global_batch_size // train.workers
    usual = micro_batch_size(train, gpu=True)
    sizes = [size for size in range(usual, 0, -1) if share % size == 0] if train.micro_batch_size is None else [usual]
    wanted = (False, True) if train.gradient_checkpointing == "auto" else (train.gradient_checkpointing,)
    for recompute in wanted:
        for size in sizes:
            tokens = size * train.sequence_length
            if recompute is False and wanted[-1] and tokens < min(_KERNEL_TOKENS, usual * train.sequence_length):
                break
            if forecast_memory(train, shape, precision, True, tokens, recompute).total <= USABLE_SHARE * gpu_bytes:
                return size, recompute
    return sizes[-1], wanted[-1]
