"""The train stage, seen from the driver: is it done, can it run, run it, publish the manifest.

Ray Train is driven by ``fit.py`` and training itself is ``loop.py``'s, on the workers.
"""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from evolcoder.board import start_board
from evolcoder.cluster import ray_session
from evolcoder.console import Reporter, format_seconds
from evolcoder.errors import ModelError
from evolcoder.models import check_tokenizer, read_config
from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import Variant, own_variant
from evolcoder.settings.run import RunSettings
from evolcoder.storage.folders import Folder
from evolcoder.storage.hashes import fingerprint
from evolcoder.storage.stage import Manifest, Stage
from evolcoder.train.identity import STAGE
from evolcoder.train.internals import most_resources
from evolcoder.train.job import METRICS_FILE, MODEL_FOLDER, TrainingJob
from evolcoder.train.prepare import Prepared, check_rounds, dataset_manifest, prepare
from evolcoder.train.resources import choose_device
from evolcoder.train.schedule import total_steps

CHECKPOINTS = "checkpoints"
_PREPARING = threading.Lock()
"""Trainings in several threads are prepared one after the other: transformers cannot be imported by two threads at once."""


def train(
    settings: RunSettings,
    run: RunFolder,
    stage: Stage,
    base_model: Path,
    reporter: Reporter,
    variant: Variant | None = None,
) -> Manifest:
    """Fine-tune ``base_model`` on the rows that the variant takes of the run's training set; does nothing when that is done.

    After an interruption the same call goes on from the last checkpoint.

    Args:
        stage: as ``identity.train_stage`` makes it of the variant, with the rounds or the training set as its inputs.
        variant: the run's own model when it is None.

    Raises:
        RunFolderError: there is no training set of these rounds. RunBusyError: another process trains this run.
        ModelError: the base model cannot be trained with these settings.
        ClusterError: the cluster can never have what ``train.workers`` asks for.
        TrainingError: training failed in a way that another try would not mend.
    """
    with run.lock(STAGE):
        return train_one(settings, run, stage, variant or own_variant(settings), base_model, reporter)


def train_one(
    settings: RunSettings,
    run: RunFolder,
    stage: Stage,
    variant: Variant,
    base_model: Path,
    reporter: Reporter,
    cpus_each: int = 1,
) -> Manifest:
    """As ``train``, for those who hold the lock. ``cpus_each`` is what a worker reserves; it decides nothing else."""
    rows = run.training_rows(settings)
    dataset = dataset_manifest(rows)
    stage = stage.pinned()
    state = stage.state()
    if state.done and state.manifest is not None:
        reporter.say(f"training on {variant.label} is done: nothing is trained again")
        return state.manifest
    check_rounds(dataset, rows, stage.input_hashes())
    if state.reason:
        reporter.say(f"the model in {stage.folder} is made again: {state.reason}")
    with ray_session():
        with _PREPARING:
            job, prepared = _prepare_job(settings, stage, variant, rows, dataset, base_model, reporter)
            from evolcoder.train.fit import fit  # imports Ray, which the session must set up first
        stage.begin()
        precision = fit(replace(job, cpus_each=cpus_each), reporter)
    return _publish(stage, prepared, precision, reporter)


def _prepare_job(
    settings: RunSettings,
    stage: Stage,
    variant: Variant,
    rows: Folder,
    dataset: Manifest,
    base_model: Path,
    reporter: Reporter,
) -> tuple[TrainingJob, Prepared]:
    import ray

    wanted = settings.train.model_copy(update={"seed": variant.seed})
    tokenizer, vocabulary = _read_base_model(base_model, wanted.sequence_length)
    gpu, missing = choose_device(wanted, ray.cluster_resources(), most_resources())
    kind = "GPU" if gpu else "CPU"
    if missing:
        reporter.say(f"waiting for the cluster to start {missing} more {kind}s")
    content = fingerprint({"identity": stage.resolved_identity, "inputs": stage.input_hashes()})
    work = stage.folder / f"{CHECKPOINTS}/{content}"
    prepared = prepare(rows, dataset, variant, tokenizer, wanted.sequence_length, work, vocabulary)
    steps = total_steps(wanted, prepared.rows)
    reporter.say(
        f"{prepared.rows:,} rows of {variant.label} ({prepared.tokens:,} tokens), {steps:,} steps of "
        f"{wanted.global_batch_size} rows on {wanted.workers} {kind} worker{'s' if wanted.workers > 1 else ''}"
    )
    if prepared.truncated:
        reporter.warn(f"{prepared.truncated:,} rows exceed train.sequence_length={wanted.sequence_length} and lose their end")
    if prepared.dropped:
        reporter.warn(
            f"{prepared.dropped:,} rows are left out: their prompt alone fills train.sequence_length={wanted.sequence_length}"
        )
    return TrainingJob(wanted, base_model, variant, steps, gpu, stage.folder, work, start_board()), prepared


def _read_base_model(folder: Path, sequence_length: int) -> tuple[Any, int | None]:
    """Its tokenizer, and how many tokens its embedding has, if known.

    Raises:
        ModelError: it is not of a kind that is trained here, cannot hold sequences of this length, or has no usable tokenizer.
    """
    config = read_config(folder)
    if config.get("is_encoder_decoder"):
        raise ModelError(f"The base model {folder} is an encoder-decoder ({config['model_type']}); give a decoder-only model.")
    lengths = [config[name] for name in ("max_position_embeddings", "n_positions") if config.get(name)]
    if lengths and sequence_length > min(lengths):
        raise ModelError(
            f"train.sequence_length={sequence_length} is more than the {min(lengths)} tokens that {folder} can hold; lower it."
        )
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder} has no usable tokenizer: {' '.join(str(error).split())[:300]}") from error
    check_tokenizer(tokenizer, folder)
    return tokenizer, (config.get("text_config") or config).get("vocab_size")


def _publish(stage: Stage, prepared: Prepared, precision: str, reporter: Reporter) -> Manifest:
    out = stage.folder
    steps = [json.loads(line) for line in out.read_text(METRICS_FILE).splitlines()]
    summary = {
        "rows": prepared.rows,
        "truncated_rows": prepared.truncated,
        "dropped_rows": prepared.dropped,
        "steps": len(steps),
        "first_loss": steps[0]["loss"],
        "last_loss": steps[-1]["loss"],
        "tokens": sum(step["tokens"] for step in steps),
        "seconds": round(sum(step["seconds"] for step in steps), 1),
        "precision": precision,
    }
    files = [METRICS_FILE, *(f"{MODEL_FOLDER}/{name}" for name in (out / MODEL_FOLDER).names(recursive=True))]
    manifest = stage.publish(files, summary)
    out.delete(CHECKPOINTS)
    losses = [round(summary[name], 4) for name in ("first_loss", "last_loss")]
    reporter.table(
        "Training",
        ["steps", "rows", "tokens", "first loss", "last loss", "precision", "time"],
        [[len(steps), prepared.rows, summary["tokens"], *losses, precision, format_seconds(summary["seconds"])]],
    )
    return manifest
