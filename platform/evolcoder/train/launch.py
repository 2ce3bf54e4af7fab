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
from evolcoder.train.job import METRICS_FILE, MODEL_FOLDER, TrainingJob
from evolcoder.train.order import total_steps
from evolcoder.train.prepare import Prepared, check_rounds, dataset_manifest, prepare
from evolcoder.train.resources import check_resources

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
    out = stage.folder
    if state.reason:
        reporter.say(f"the model in {out} is made again: {state.reason}")
    work = out / f"{CHECKPOINTS}/{fingerprint({'identity': stage.resolved_identity, 'inputs': stage.input_hashes()})}"
    with ray_session():
        with _PREPARING:
            job, prepared = _prepare_job(settings, run, variant, dataset, base_model, work, reporter)
            from evolcoder.train.fit import fit  # imports Ray, which the session must set up first
        stage.begin()
        precision = fit(replace(job, cpus_each=cpus_each), reporter)
    model_files = (out / MODEL_FOLDER).names(recursive=True)
    files = [METRICS_FILE, *(f"{MODEL_FOLDER}/{name}" for name in model_files)]
    manifest = stage.publish(files, _summary(out, prepared) | {"precision": precision})
    out.delete(CHECKPOINTS)
    _report(manifest, reporter)
    return manifest


def _prepare_job(
    settings: RunSettings,
    run: RunFolder,
    variant: Variant,
    dataset: Manifest,
    base_model: Path,
    work: Folder,
    reporter: Reporter,
) -> tuple[TrainingJob, Prepared]:
    wanted = settings.train.model_copy(update={"seed": variant.seed})
    config = read_config(base_model)
    _check_base_model(base_model, config, wanted.sequence_length)
    vocabulary = (config.get("text_config") or config).get("vocab_size")
    gpu = check_resources(wanted, reporter)
    tokenizer = _load_tokenizer(base_model)
    prepared = prepare(run.training_rows(settings), dataset, variant, tokenizer, wanted.sequence_length, work, vocabulary)
    steps = total_steps(wanted, prepared.rows)
    device = f"{wanted.workers} {'GPU' if gpu else 'CPU'} worker{'s' if wanted.workers > 1 else ''}"
    reporter.say(
        f"{prepared.rows:,} rows of {variant.label} ({prepared.tokens:,} tokens), "
        f"{steps:,} steps of {wanted.global_batch_size} rows on {device}"
    )
    if prepared.truncated:
        reporter.warn(f"{prepared.truncated:,} rows exceed train.sequence_length={wanted.sequence_length} and lose their end")
    if prepared.dropped:
        reporter.warn(
            f"{prepared.dropped:,} rows are left out: their prompt alone fills train.sequence_length={wanted.sequence_length}"
        )
    return TrainingJob(wanted, base_model, variant, steps, gpu, run.train(variant.folder), work, start_board()), prepared


def _check_base_model(folder: Path, config: dict[str, Any], sequence_length: int) -> None:
    """See from its configuration that the model is of a kind that is trained here, and reads sequences of this length.

    Raises:
        ModelError: it is not, or does not.
    """
    if config.get("is_encoder_decoder"):
        raise ModelError(f"The base model {folder} is an encoder-decoder ({config['model_type']}); give a decoder-only model.")
    lengths = [config[name] for name in ("max_position_embeddings", "n_positions") if config.get(name)]
    if lengths and sequence_length > min(lengths):
        raise ModelError(
            f"train.sequence_length={sequence_length} is more than the {min(lengths)} tokens that {folder} can hold; lower it."
        )


def _load_tokenizer(base_model: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(base_model)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{base_model} has no usable tokenizer: {' '.join(str(error).split())[:300]}") from error
    check_tokenizer(tokenizer, base_model)
    return tokenizer


def _summary(out: Folder, prepared: Prepared) -> dict[str, Any]:
    rows = [json.loads(line) for line in out.read_text(METRICS_FILE).splitlines()]
    return {
        "rows": prepared.rows,
        "truncated_rows": prepared.truncated,
        "dropped_rows": prepared.dropped,
        "steps": len(rows),
        "first_loss": rows[0]["loss"],
        "last_loss": rows[-1]["loss"],
        "tokens": sum(row["tokens"] for row in rows),
        "seconds": round(sum(row["seconds"] for row in rows), 1),
    }


def _report(manifest: Manifest, reporter: Reporter) -> None:
    made = manifest.summary
    reporter.table(
        "Training",
        ["steps", "rows", "tokens", "first loss", "last loss", "precision", "time"],
        [
            [
                made["steps"], made["rows"], made["tokens"], round(made["first_loss"], 4), round(made["last_loss"], 4),
                made["precision"], format_seconds(made["seconds"]),
            ]
        ],
    )  # fmt: skip
