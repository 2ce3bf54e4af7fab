"""Saving and resuming in the middle of a training, in a layout of our own.

A checkpoint holds each trained parameter and its moments whole, in 32 bits and by name, beside the metrics of the steps done:
it fits any number of workers, any ZeRO stage, offload and precision, which DeepSpeed's own does not. It is a stage like
others, so that one that is unfinished or damaged is known as such, and the one before it is taken.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import safetensors.torch
import torch.distributed

from evolcoder.errors import RunFolderError, TrainingError
from evolcoder.settings.run import TrainSettings
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import MANIFEST, FileEntry, Stage, describe_file, read_manifest
from evolcoder.train.internals import (
    STATES,
    full_state,
    link_moments,
    loss_scaler_state,
    set_full_state,
    set_loss_scaler_state,
    start_moments,
)
from evolcoder.train.job import MetricsRow, TrainingJob
from evolcoder.train.schedule import best_step

METRICS = "metrics.json"
FILE_BYTES = 1 << 30
"""About as much is held in memory beside the model, and written to one file."""


class Due:
    """Call it after each step, on every rank, to know whether it is time for a checkpoint: all ranks hear the same."""

    def __init__(self, settings: TrainSettings) -> None:
        self._settings = settings
        self._saved = time.monotonic()

    def __call__(self, step: int) -> bool:
        due = step % self._settings.checkpoint_steps == 0
        if self._settings.checkpoint_minutes is not None:
            late = torch.tensor(float(time.monotonic() - self._saved > 60 * self._settings.checkpoint_minutes))
            if torch.distributed.get_backend() == "nccl":
                late = late.cuda()
            torch.distributed.broadcast(late, src=0)  # the ranks' clocks differ
            due = due or bool(late)
        if due:
            self._saved = time.monotonic()
        return due


def save(engine: Any, job: TrainingJob, history: list[MetricsRow]) -> None:
    """Checkpoint after the last step of ``history``. Every rank calls it; it returns when the checkpoint counts.

    Raises:
        TrainingError: it cannot be written; which one is the last that was.
    """
    rank, workers = torch.distributed.get_rank(), torch.distributed.get_world_size()
    stage = _checkpoint(job.work, len(history))
    try:
        if rank == 0:
            for step in _steps(job.work):
                if not (job.work / _name(step)).exists(MANIFEST):  # what a kill or a full disk has left of one
                    job.work.delete(_name(step))
            stage.begin()
        torch.distributed.barrier()
        entries = list(_write_share(engine, stage.folder, rank, workers))
        everyones: list[list[FileEntry]] = [[] for _ in range(workers)]
        torch.distributed.all_gather_object(everyones, entries)
        if rank == 0:
            stage.folder.write_text(METRICS, json.dumps(history))
            told = {"skipped_steps": engine.skipped_steps, "loss_scaler": loss_scaler_state(engine)}
            stage.publish([METRICS, *(entry for its in everyones for entry in its)], told)
            kept = {*_steps(job.work)[: job.settings.keep_checkpoints], best_step(history)}
            for step in _steps(job.work):
                if step not in kept:
                    job.work.delete(_name(step))
    except RunFolderError as error:
        stage.folder.delete()  # it may be what fills the disk
        whole = [step for step in _steps(job.work) if (job.work / _name(step)).exists(MANIFEST)]
        last = f"the last checkpoint is of step {whole[0]}" if whole else "there is no checkpoint yet"
        raise TrainingError(f"{error.message.rstrip('.')} ({last}).") from error
    torch.distributed.barrier()


def resume(engine: Any, job: TrainingJob) -> tuple[list[MetricsRow], list[str]]:
    """Load the newest whole checkpoint of this training, if any, into the engine. Every rank calls it.

    Returns:
        The metrics of the steps done, and what is wrong with newer checkpoints, in words.
    """
    found: list[Any] = [None]
    if torch.distributed.get_rank() == 0:
        found = [_newest_whole(job.work)]
    torch.distributed.broadcast_object_list(found, src=0)
    step, damages = found[0]
    if step is None:
        return [], damages
    load(engine, job, step)
    return list(json.loads((job.work / _name(step)).read_text(METRICS))), damages


def load(engine: Any, job: TrainingJob, step: int) -> None:
    """Load the checkpoint of this step. Every rank calls it."""
    folder = job.work / _name(step)
    manifest = read_manifest(folder)
    assert manifest is not None
    skipped = manifest.summary["skipped_steps"]
    start_moments(engine, step - skipped)
    engine.skipped_steps = skipped
    set_loss_scaler_state(engine, manifest.summary["loss_scaler"])
    parameters = dict(_trained(engine))
    for entry in manifest.files:
        if entry.path.endswith(".safetensors"):
            for key, value in safetensors.torch.load(folder.read_bytes(entry.path)).items():
                kind, _, name = key.partition("/")
                set_full_state(engine, parameters[name], kind, value)


def _name(step: int) -> str:
    return f"step-{step:06d}"


def _checkpoint(work: Folder, step: int) -> Stage:
    return Stage("checkpoint", work / _name(step), {"step": step})


def _steps(work: Folder) -> list[int]:
    """Of the checkpoints that are there, whole or not, the newest first."""
    tops = {name.partition("/")[0] for name in work.names("step-*", recursive=True)}
    return sorted((int(top.removeprefix("step-")) for top in tops), reverse=True)


def _newest_whole(work: Folder) -> tuple[int | None, list[str]]:
    """Its step, and what is wrong with newer ones, which are deleted."""
    damages = []
    for step in _steps(work):
        folder = work / _name(step)
        try:
            manifest = read_manifest(folder)
            damage = None if manifest is None else manifest.damage(folder)
        except RunFolderError as error:
            manifest, damage = None, error.message.rstrip(".")
        if damage is not None:
            damages.append(f"the checkpoint of step {step} is damaged ({damage})")
            work.delete(_name(step))
        elif manifest is not None:
            return step, damages
    return None, damages


def _write_share(engine: Any, folder: Folder, rank: int, workers: int) -> Iterator[FileEntry]:
    """Gather every state with all other ranks, and write those that fall to this one."""
    link_moments(engine)
    held: dict[str, torch.Tensor] = {}
    size = files = 0
    for number, (name, parameter) in enumerate(_trained(engine)):
        for kind in STATES:
            whole = full_state(engine, parameter, kind)
            if number % workers == rank:
                held[f"{kind}/{name}"] = whole.detach().cpu().contiguous()
                size += whole.nbytes
        if size >= FILE_BYTES:
            yield _write(folder, f"state-{rank:05d}-{files:05d}.safetensors", held)
            held, size, files = {}, 0, files + 1
    if held:
        yield _write(folder, f"state-{rank:05d}-{files:05d}.safetensors", held)


def _write(folder: Folder, name: str, tensors: dict[str, torch.Tensor]) -> FileEntry:
    folder.write_bytes(name, safetensors.torch.save(tensors))
    return describe_file(folder, name)


def _trained(engine: Any) -> Iterator[tuple[str, Any]]:
    return ((name, parameter) for name, parameter in engine.module.named_parameters() if parameter.requires_grad)
