"""Several trainings of one run: side by side where the cluster has room for their gangs, else one after the other.

Each has a folder, an identity and workers of its own, so what it makes does not depend on what runs beside it. Ray reserves a
gang as one placement group: it starts whole or waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from evolcoder.cluster import ray_session
from evolcoder.console import Reporter
from evolcoder.errors import EvolcoderError
from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import Variant
from evolcoder.settings.run import RunSettings
from evolcoder.side_by_side import Work, work_on_models
from evolcoder.storage.stage import Stage
from evolcoder.train.identity import STAGE
from evolcoder.train.launch import train_one
from evolcoder.train.resources import Room, room_now


def train_several(
    settings: RunSettings,
    run: RunFolder,
    trainings: Sequence[tuple[Stage, Variant]],
    base_model: Path,
    reporter: Reporter,
) -> dict[str, EvolcoderError]:
    """Train what is not trained yet; returns the failures of single models by name, when all others are made.

    Raises:
        RunFolderError, RunBusyError, ClusterError: what would stop any of them stops all; the same call goes on.
    """

    def work(stage: Stage, variant: Variant, to: Reporter) -> None:
        if at_once == 1:
            to.stage(f"Train {variant.name}: on {variant.label}, seed {variant.seed}")
        train_one(settings, run, stage, variant, base_model, to, room.cpus_each)

    with run.lock(STAGE):
        left: dict[str, Work] = {}
        for stage, variant in trainings:
            if stage.state().done:
                reporter.say(f"{variant.name}: training on {variant.label} is done: nothing is trained again")
            else:
                left[variant.name] = partial(work, stage, variant)
        if not left:
            return {}
        with ray_session():
            room = room_now(settings.train) if len(left) > 1 else Room(1)
            at_once = min(room.trainings, len(left))
            if at_once > 1:
                reporter.stage(f"Train {len(left)} models of {settings.name}, {at_once} side by side")
            return work_on_models(left, at_once, reporter)
