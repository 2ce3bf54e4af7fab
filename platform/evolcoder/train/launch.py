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
from evolcoder.settings.run import RunSettings, TrainSettings
from evolcoder.storage.folders import Folder
from evolcoder.storage.hashes import fingerprint
from evolcoder.storage.stage import Manifest, Stage
from evolcoder.train.identity import STAGE
from evolcoder.train.internals import most_resources
from evolcoder.train.job import ADAPTER_FOLDER, METRICS_FILE, MODEL_FOLDER, TrainingJob
from evolcoder.train.prepare import Prepared, check_rounds, dataset_manifest, prepare
from evolcoder.train.resources import choose_device
from evolcoder.train.schedule import best_step, packs_rows, total_steps
from evolcoder.train.trackers import check_trackers

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
        stage.begin(ADAPTER_FOLDER)
        precision = fit(replace(job, cpus_each=cpus_each), reporter)
    return _publish(stage, prepared, settings.train, precision, reporter)


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
    tokenizer, vocabulary, packs = _read_base_model(base_model, wanted)
    check_trackers(wanted.trackers, stage.folder)
    gpu, missing = choose_device(wanted, ray.cluster_resources(), most_resources())
    kind = "GPU" if gpu else "CPU"
    if missing:
        reporter.say(f"waiting for the cluster to start {missing} more {kind}s")
    content = fingerprint({"identity": stage.resolved_identity, "inputs": stage.input_hashes()})
    work = stage.folder / f"{CHECKPOINTS}/{content}"
    prepared = prepare(rows, dataset, variant, tokenizer, wanted, work, vocabulary)
    steps = total_steps(wanted, prepared.rows)
    reporter.say(
        f"{prepared.rows:,} rows of {variant.label} ({prepared.tokens:,} tokens), {steps:,} steps of "
        f"{wanted.global_batch_size} rows on {wanted.workers} {kind} worker{'s' if wanted.workers > 1 else ''}"
    )
    if prepared.held_out:
        reporter.say(f"{prepared.held_out:,} rows of other seed families are held out")
    if prepared.overlong:
        fate = "are left out" if wanted.overlong == "drop" else "lose their end"
        reporter.warn(
            f"{prepared.overlong:,} rows exceed train.sequence_length={wanted.sequence_length} and {fate}, such as "
            f"{', '.join(prepared.examples)}"
        )
    if prepared.dropped:
        reporter.warn(
            f"{prepared.dropped:,} rows are left out: their prompt alone fills train.sequence_length={wanted.sequence_length}"
        )
    return TrainingJob(wanted, base_model, variant, steps, packs, gpu, stage.folder, work, start_board()), prepared


def _read_base_model(folder: Path, wanted: TrainSettings) -> tuple[Any, int | None, bool]:
    """Its tokenizer, how many tokens its embedding has, if known, and whether rows are packed for it.

    Raises:
        ModelError: it is not of a kind that is trained here, cannot hold sequences of this length, or has no usable tokenizer.
    """
    config = read_config(folder)
    if config.get("is_encoder_decoder"):
        raise ModelError(f"The base model {folder} is an encoder-decoder ({config['model_type']}); give a decoder-only model.")
    lengths = [config[name] for name in ("max_position_embeddings", "n_positions") if config.get(name)]
    if lengths and wanted.sequence_length > min(lengths):
        raise ModelError(
            f"train.sequence_length={wanted.sequence_length} is more than the {min(lengths)} tokens that {folder} can hold; "
            "lower it."
        )
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder} has no usable tokenizer: {' '.join(str(error).split())[:300]}") from error
    check_tokenizer(tokenizer, folder)
    return tokenizer, (config.get("text_config") or config).get("vocab_size"), packs_rows(wanted, config["model_type"])


def _publish(stage: Stage, prepared: Prepared, wanted: TrainSettings, precision: str, reporter: Reporter) -> Manifest:
    out = stage.folder
    steps = [json.loads(line) for line in out.read_text(METRICS_FILE).splitlines()]
    summary = {
        "rows": prepared.rows,
        "truncated_rows": 0 if wanted.overlong == "drop" else prepared.overlong,
        "dropped_rows": prepared.dropped + (prepared.overlong if wanted.overlong == "drop" else 0),
        "steps": len(steps),
        "first_loss": steps[0]["loss"],
        "last_loss": steps[-1]["loss"],
        "tokens": sum(step["tokens"] for step in steps),
        "seconds": round(sum(step["seconds"] for step in steps), 1),
        "precision": precision,
    }
    if prepared.held_out:
        best = best_step(steps)
        kept = best if wanted.early_stop_patience is not None and best is not None else len(steps)
        summary |= {
            "held_out_rows": prepared.held_out,
            "held_out_loss": steps[kept - 1]["held_out_loss"],
            "model_of_step": kept,
        }
    folders = (MODEL_FOLDER, ADAPTER_FOLDER)
    files = [METRICS_FILE, *(f"{made}/{name}" for made in folders for name in (out / made).names(recursive=True))]
    manifest = stage.publish(files, summary)
    out.delete(CHECKPOINTS)
    losses = {
        name.replace("_", " "): round(summary[name], 4)
        for name in ("first_loss", "last_loss", "held_out_loss")
        if name in summary
    }
    reporter.table(
        "Training",
        ["steps", "rows", "tokens", *losses, "precision", "time"],
        [[len(steps), prepared.rows, summary["tokens"], *losses.values(), precision, format_seconds(summary["seconds"])]],
    )
    return manifest
