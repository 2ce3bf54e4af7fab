"""What one training is, as the launcher hands it to every worker, and how workers tell what they do. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolcoder.settings import TrainSettings
from evolcoder.storage.folders import Folder

ENCODED_FILE = "encoded.arrow"
METRICS_FILE = "metrics.jsonl"
MODEL_FOLDER = "model"

MetricsRow = dict[str, Any]
"""step (from 1), loss, learning_rate, grad_norm, tokens, response_tokens, seconds, skipped_steps."""


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """Everything a worker needs; picklable.

    ``out`` is the stage's folder, ``work`` the folder of this training's encoded rows and checkpoints, which belongs to
    Ray Train, and ``board`` the handle of a ``ProgressBoard`` actor.
    """

    settings: TrainSettings
    base_model: Path
    data_rounds: int
    steps: int
    gpu: bool
    out: Folder
    work: Folder
    board: Any


class ProgressBoard:
    """Where rank 0 says what it does and the launcher reads it. It runs as a Ray actor."""

    def __init__(self) -> None:
        self._phases = ["starting the workers"]
        self._row: MetricsRow | None = None
        self._outcome: dict[str, Any] = {}

    def phase(self, text: str) -> None:
        self._phases.append(text)

    def step(self, row: MetricsRow) -> None:
        self._row = row

    def finished(self, outcome: dict[str, Any]) -> None:
        self._outcome = outcome

    def read(self, known: int) -> tuple[list[str], MetricsRow | None]:
        """The phases after the first ``known`` ones, so that none is missed however short it was, and the newest step."""
        return self._phases[known:], self._row

    def outcome(self) -> dict[str, Any]:
        return self._outcome
