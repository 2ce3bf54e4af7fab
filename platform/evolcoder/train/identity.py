"""The train stage as its manifest records it: what decides the trained model, and from which rounds. Trains nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evolcoder.embedded import embedded_model_fingerprint
from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import Variant, own_variant
from evolcoder.settings.run import RunSettings
from evolcoder.settings.section import EMBEDDED
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Stage, read_manifest
from evolcoder.train.encode import TEMPLATE_HASH

STAGE = "train"
DATASET = "dataset"
_PACKAGES = ("torch", "deepspeed", "transformers", "ray")


def train_stage(
    settings: RunSettings,
    run: RunFolder,
    rounds: Sequence[Stage],
    dataset: Stage,
    base_fingerprint: Callable[[], str],
    variant: Variant | None = None,
) -> Stage:
    """The model that these settings make of the rows of those rounds; the run's own, unless another variant is named.

    Args:
        rounds: of the run, round 0 first; it is made from those up to the last one that decides which rows it takes.
        base_fingerprint: gives the base model's fingerprint, for the model counts by its content and not by its path.
    """
    chosen = variant or own_variant(settings)
    folder = run.train(chosen.folder)
    own = {key: value for key, value in settings.train.identity().items() if key != "base_model"}
    own |= chosen.identity() | {"prompt_template": TEMPLATE_HASH}
    inputs = {stage.kind: stage for stage in rounds[: chosen.last_round + 1]}
    if _made_from_the_whole_set(folder, own, dataset):
        inputs = {DATASET: dataset}
    # For those who only look, a base model is neither fetched nor converted.
    base_model = settings.train.base_model
    at_hand = base_model == EMBEDDED or Path(base_model).expanduser().is_dir()
    found = embedded_model_fingerprint if base_model == EMBEDDED else base_fingerprint
    told = (lambda: own | {"base_model": found()}) if at_hand else own
    return Stage(STAGE, folder, lambda: own | {"base_model": base_fingerprint()}, inputs, _PACKAGES, told)


def _made_from_the_whole_set(folder: Folder, own: Mapping[str, Any], dataset: Stage) -> bool:
    """Whether the model that is there is of the time when trainings named the run's whole training set as their input, and that
    set is still the same. So it stays done.
    """
    manifest = read_manifest(folder)
    if manifest is None or set(manifest.inputs) != {DATASET}:
        return False
    merged = dataset.manifest()
    recorded = {key: value for key, value in manifest.identity.items() if key != "base_model"}
    return merged is not None and manifest.inputs[DATASET] == merged.content_hash and recorded == json.loads(json.dumps(own))
