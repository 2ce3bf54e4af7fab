"""Saving and resuming in the middle of a training: DeepSpeed writes the state, Ray Train keeps track of it.

A checkpoint holds the engine's state, the number of steps done and the metrics of all of them, so that a resumed run's
metrics have no step twice and none missing. It fits only the layout (workers, ZeRO stage, offload, precision) that it was
saved with.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import ray.train
import torch.distributed

from evolcoder.errors import TrainingError
from evolcoder.settings.run import TrainSettings
from evolcoder.storage.folders import Folder
from evolcoder.train.deepspeed import Precision
from evolcoder.train.job import MetricsRow, TrainingJob

STATE_FILE = "state.json"
ENGINE_TAG = "engine"


def layout(settings: TrainSettings, precision: Precision) -> dict[str, Any]:
    """What must be the same for a checkpoint to load."""
    return {
        "train.workers": settings.workers,
        "train.zero_stage": settings.zero_stage,
        "train.offload": settings.offload,
        "train.precision": precision,
    }


def save(engine: Any, job: TrainingJob, history: list[MetricsRow], precision: Precision) -> None:
    """Checkpoint after the last step of ``history``. Every rank calls it; it returns when the checkpoint counts."""
    step = len(history)
    name = f"step-{step:06d}"
    context = ray.train.get_context()
    place = job.work / name
    # A folder that all workers reach as files is written in place; to any other storage, Ray Train uploads a local copy.
    with tempfile.TemporaryDirectory(prefix="evolcoder-checkpoint-") as temporary:
        folder = place.make().local_path if place.is_local else Path(temporary)
        engine.save_checkpoint(str(folder), tag=ENGINE_TAG)
        if context.get_world_rank() == 0:
            state = {"step": step, "layout": layout(job.settings, precision), "history": history}
            (folder / STATE_FILE).write_text(json.dumps(state), "utf-8")
        # A checkpoint that lacks a rank's part does not load: all parts are written before any rank reports it.
        torch.distributed.barrier()
        if place.is_local:
            checkpoint = ray.train.Checkpoint(place.path, filesystem=place.filesystem)
            mode = ray.train.CheckpointUploadMode.NO_UPLOAD
        else:
            checkpoint = ray.train.Checkpoint.from_directory(temporary)
            mode = ray.train.CheckpointUploadMode.SYNC
        ray.train.report({"step": step}, checkpoint=checkpoint, checkpoint_dir_name=name, checkpoint_upload_mode=mode)
        # The report is in this worker's memory until Ray Train's controller has fetched it, up to two seconds later.
        ray.train.get_all_reported_checkpoints(consistency_mode=ray.train.CheckpointConsistencyMode.COMMITTED)


def resume(engine: Any, job: TrainingJob, precision: Precision) -> list[MetricsRow]:
    """Load the last checkpoint of this training, if any, into the engine; returns the metrics of the steps done.

    Raises:
        TrainingError: the checkpoint is of another layout, or cannot be read.
    """
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return []
    with checkpoint.as_directory() as folder:
        try:
            state = json.loads((Path(folder) / STATE_FILE).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"The checkpoint in {checkpoint.path} cannot be read ({error}); delete {job.work} to train from the start."
            ) from None
        check_layout(state["layout"], layout(job.settings, precision), state["step"], job.work)
        engine.load_checkpoint(folder, tag=ENGINE_TAG)
    return list(state["history"])


def check_layout(saved: dict[str, Any], wanted: dict[str, Any], step: int, work: Folder) -> None:
    """Refuse a checkpoint of another layout.

    Raises:
        TrainingError: it names the settings to go back to.
    """
    # As one types it: an override knows `null`, not `None`.
    changed = [f"{key}={'null' if saved[key] is None else saved[key]}" for key in wanted if saved[key] != wanted[key]]
    if changed:
        raise TrainingError(
            f"This training was interrupted after step {step} with {', '.join(changed)}; go on with the same, "
            f"or delete {work} to train from the start."
        )
