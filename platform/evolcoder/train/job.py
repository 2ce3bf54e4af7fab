"""What one training is, as the launcher hands it to every worker, and how workers tell what they do. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evolcoder.run.variants import Variant
from evolcoder.settings.run import TrainSettings
from evolcoder.storage.folders import Folder
from evolcoder.train.deepspeed import Precision

ENCODED_FILE = "encoded.arrow"
HELD_OUT_FILE = "held-out.arrow"
METRICS_FILE = "metrics.jsonl"
MODEL_FOLDER = "model"
ADAPTER_FOLDER = "adapter"

MetricsRow = dict[str, Any]
"""step (from 1), loss, learning_rate, grad_norm, tokens, response_tokens, padding (its share of what was computed), seconds,
ended_at (seconds since 1970), memory_bytes (rank 0's peak), skipped_steps; held_out_loss where it was measured.
"""


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """Everything a worker needs; picklable.

    ``packs`` says whether rows lie one behind the other in a micro-batch. ``out`` is the stage's folder, ``work`` the folder of
    this training's encoded rows and checkpoints, and ``board`` the handle of the ``Board`` on which rank 0 leaves a
    ``TrainingReport``.
    """

    settings: TrainSettings
    base_model: Path
    variant: Variant
    steps: int
    packs: bool
    gpu: bool
    out: Folder
    work: Folder
    board: Any
    cpus_each: int = 1
    """How many CPUs each worker reserves, which keeps other trainings off its machine; it computes on all cores anyway."""


@dataclass(slots=True)
class TrainingReport:
    """What rank 0 has done in one fit: the phases so far, in words, and the newest step."""

    precision: Precision
    phases: list[str] = field(default_factory=list)
    row: MetricsRow | None = None
