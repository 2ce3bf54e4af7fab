"""The train stage as its manifest records it: what decides the trained model. Trains nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evolcoder.models import data_rounds
from evolcoder.runs import RunFolder
from evolcoder.settings import RunSettings
from evolcoder.storage.stage import Stage
from evolcoder.train.encode import TEMPLATE_HASH

STAGE = "train"
_PACKAGES = ("torch", "deepspeed", "transformers", "ray")


def train_stage(settings: RunSettings, run: RunFolder, dataset: Stage, base_fingerprint: Callable[[], str]) -> Stage:
    """The model that these settings make of that training set.

    Args:
        base_fingerprint: gives the base model's fingerprint, for the model counts by its content and not by its path.
    """

    def identity() -> dict[str, Any]:
        own = {key: value for key, value in settings.train.identity().items() if key != "base_model"}
        return own | {
            "data_rounds": data_rounds(settings),
            "base_model": base_fingerprint(),
            "prompt_template": TEMPLATE_HASH,
        }

    return Stage(STAGE, run.train(data_rounds(settings)), identity, {"dataset": dataset}, _PACKAGES)
