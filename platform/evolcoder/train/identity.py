"""The train stage as its manifest records it: what decides the trained model. Trains nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evolcoder.runs import RunFolder
from evolcoder.settings.run import RunSettings
from evolcoder.storage.stage import Stage
from evolcoder.train.encode import TEMPLATE_HASH
from evolcoder.variants import Variant, own_variant

STAGE = "train"
_PACKAGES = ("torch", "deepspeed", "transformers", "ray")


def train_stage(
    settings: RunSettings, run: RunFolder, dataset: Stage, base_fingerprint: Callable[[], str], variant: Variant | None = None
) -> Stage:
    """The model that these settings make of that training set; the run's own, unless another variant is named.

    Args:
        base_fingerprint: gives the base model's fingerprint, for the model counts by its content and not by its path.
    """
    chosen = variant or own_variant(settings)

    def identity() -> dict[str, Any]:
        own = {key: value for key, value in settings.train.identity().items() if key != "base_model"}
        return own | chosen.identity() | {"base_model": base_fingerprint(), "prompt_template": TEMPLATE_HASH}

    return Stage(STAGE, run.train(chosen.folder), identity, {"dataset": dataset}, _PACKAGES)
