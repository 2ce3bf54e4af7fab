"""What every training worker does: build the engine, resume, step to the end, export. It runs inside Ray Train.

Failures that the user can mend leave as ``TrainingError``; the launcher shows them and does not try again. Anything else
is the launcher's to judge.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray.train
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from evolcoder.errors import ModelError, TrainingError
from evolcoder.models import load_weights
from evolcoder.storage.arrow_files import read_table
from evolcoder.train import checkpoints
from evolcoder.train.deepspeed import Precision, deepspeed_config, working_precision
from evolcoder.train.encode import row_of
from evolcoder.train.export import export
from evolcoder.train.internals import use_no_compiled_collectives, whole_shape
from evolcoder.train.job import ENCODED_FILE, METRICS_FILE, MetricsRow, TrainingJob, TrainingReport
from evolcoder.train.schedule import global_batch, learning_rate, micro_batch_size, micro_batches
from evolcoder.train.steps import loss_tokens, optimizer_step

LARGE_MODEL_PARAMETERS = 1_000_000_000
METRICS_INTERVAL_SECONDS = 5.0
"""The whole file is written each time, so not after every step but the last."""


def train_worker(config: dict[str, Any]) -> None:
    """Ray Train's entry on each worker. ``config["job"]`` is a ``TrainingJob``."""
    job: TrainingJob = config["job"]
    # Ray starts workers without an activated environment, whose ninja builds DeepSpeed's operators where any are built.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if not job.gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"
        # Ray gives a worker as many threads as CPUs it asked for: one. Its share of the machine is more.
        beside = ray.train.get_context().get_local_world_size()
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // beside))
    try:
        _train(job)
    except (torch.OutOfMemoryError, MemoryError) as error:
        size = micro_batch_size(job.settings, job.gpu)
        raise TrainingError(
            f"Out of memory with micro-batches of {size} x {job.settings.sequence_length} tokens at ZeRO stage "
            f"{job.settings.zero_stage}: lower train.micro_batch_size or train.sequence_length, raise train.zero_stage "
            "or train.workers, or set train.offload."
        ) from error


def _train(job: TrainingJob) -> None:
    gpu_has_bf16 = job.gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    precision = working_precision(job.settings, job.gpu, gpu_has_bf16, cpu_flags())
    reports = _RankZeroReports(job, precision)
    reports.phase("loading the model")
    tokenizer = AutoTokenizer.from_pretrained(job.base_model)
    engine = build_engine(job, precision)
    rows = read_table(job.work, ENCODED_FILE)
    history = checkpoints.resume(engine, job, precision)
    reports.phase(f"going on after step {len(history)}" if history else "training")
    for step in range(len(history), job.steps):
        history.append(_train_step(engine, rows, job, step, pad_id=tokenizer.eos_token_id))
        reports.step(history)
        if (step + 1) % job.settings.checkpoint_steps == 0 and step + 1 < job.steps:
            checkpoints.save(engine, job, history, precision)
    reports.phase("exporting the model")
    export(engine, tokenizer, job)


def _train_step(engine: Any, rows: pa.Table, job: TrainingJob, step: int, pad_id: int) -> MetricsRow:
    settings = job.settings
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    started = time.perf_counter()
    # Dropout, where a model has any, is drawn anew from here: a resumed step is the same step. Each rank has a stream of its
    # own, or all of them would drop the same positions.
    torch.manual_seed(int(np.random.SeedSequence([settings.seed, step, rank]).generate_state(1)[0]))
    # Every worker reads the whole global batch: its lengths decide who takes which rows, and its tokens what the loss is
    # divided by, so that no worker need ask another.
    indices = global_batch(settings.seed, step, settings.global_batch_size, rows.num_rows)
    batch = [row_of(rows, index) for index in indices]
    lengths = [len(row.tokens) for row in batch]
    counted = loss_tokens(batch)
    mine = micro_batches(batch, lengths, rank, workers, engine.train_micro_batch_size_per_gpu())
    rate = learning_rate(settings, step, job.steps)
    loss, norm = optimizer_step(engine, mine, counted, rate, pad_id)
    if not math.isfinite(loss):
        raise TrainingError(
            f"The loss is {loss} at step {step + 1}: training has diverged; lower train.learning_rate "
            "or lengthen train.warmup_steps, or use bf16 instead of fp16."
        )
    return {
        "step": step + 1,
        "loss": loss,
        "learning_rate": rate,
        "grad_norm": norm,
        "tokens": sum(lengths),
        "response_tokens": counted,
        "seconds": round(time.perf_counter() - started, 3),
        "skipped_steps": engine.skipped_steps,
    }


class _RankZeroReports:
    """What rank 0 reports: progress to the launcher's board, metrics to their file. On other ranks it does nothing."""

    def __init__(self, job: TrainingJob, precision: Precision) -> None:
        self._job = job
        self._is_rank_zero = ray.train.get_context().get_world_rank() == 0
        self._fit_id = uuid.uuid4().hex
        self._report = TrainingReport(precision)
        self._written = time.monotonic()

    def phase(self, text: str) -> None:
        self._report.phases.append(text)
        if self._is_rank_zero:
            # Waited for: the launcher relies on the report of the first phase.
            ray.get(self._job.board.report.remote(self._fit_id, self._report))

    def step(self, history: list[MetricsRow]) -> None:
        """Metrics are written whole, from what the checkpoint and this process remember, so no step is there twice."""
        self._report.row = history[-1]
        if self._is_rank_zero:
            self._job.board.report.remote(self._fit_id, self._report)
            if len(history) == self._job.steps or time.monotonic() - self._written > METRICS_INTERVAL_SECONDS:
                self._job.out.write_text(METRICS_FILE, "".join(json.dumps(row) + "\n" for row in history))
                self._written = time.monotonic()


def build_engine(job: TrainingJob, precision: Precision) -> Any:
    """A DeepSpeed engine around the base model, ready to train; its collectives are set up if they are not yet."""
    import deepspeed

    if not job.gpu:
        use_no_compiled_collectives()
    deepspeed.init_distributed()  # before the model: ZeRO-3 divides it among the workers while it is loaded
    config = deepspeed_config(job.settings, precision, micro_batch_size(job.settings, job.gpu), job.gpu)
    model = _load_model(job.base_model, precision, config)
    if job.gpu or model.num_parameters() > LARGE_MODEL_PARAMETERS:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    engine, *_ = deepspeed.initialize(model=model, config=config, model_parameters=_parameter_groups(model, job))
    return engine


def _load_model(folder: Path, precision: Precision, config: dict[str, Any]) -> Any:
    """The base model in the working precision; under ZeRO-3 each worker holds only its part from the start."""
    from transformers.integrations import HfDeepSpeedConfig

    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[precision]
    partitioned = HfDeepSpeedConfig(config) if config["zero_optimization"]["stage"] == 3 else None
    try:
        return load_weights(AutoModelForCausalLM, folder, AutoConfig.from_pretrained(folder), dtype)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise TrainingError(f"The base model in {folder} cannot be loaded: {reason}") from error
    except RuntimeError as error:
        if "size mismatch" not in str(error):  # which ZeRO-3's own way of loading raises
            raise
        raise ModelError(f"{folder} has weights of other sizes than its config.json says.") from error
    finally:
        del partitioned  # transformers partitions every model that is loaded while this object lives


def _parameter_groups(model: Any, job: TrainingJob) -> list[dict[str, Any]]:
    """Weight decay is for matrices; norms and biases have none."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if job.settings.weight_decay == 0:
        return [{"params": trained}]
    partitioned = job.settings.zero_stage == 3
    matrices = [parameter for parameter in trained if len(whole_shape(parameter, partitioned)) > 1]
    others = [parameter for parameter in trained if len(whole_shape(parameter, partitioned)) <= 1]
    return [{"params": matrices}, {"params": others, "weight_decay": 0.0}]


def cpu_flags() -> frozenset[str]:
    """The processor's feature flags as Linux names them; none where /proc is not there."""
    try:
        text = Path("/proc/cpuinfo").read_text("ascii", errors="replace")
    except OSError:
        return frozenset()
    return frozenset(" ".join(re.findall(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)).split())
