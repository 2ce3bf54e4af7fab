"""What every training worker does: have the engine built, resume, step to the end, export. It runs inside Ray Train.

Failures that the user can mend leave as ``TrainingError``; the launcher shows them and does not try again. Anything else
is the launcher's to judge.
"""

from __future__ import annotations

import json
import math
import os
import re
import resource
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray.train
import torch
from transformers import AutoTokenizer

from evolcoder.errors import TrainingError
from evolcoder.storage.arrow_files import read_table
from evolcoder.train import checkpoints
from evolcoder.train.deepspeed import Precision, working_precision
from evolcoder.train.encode import EncodedRow, row_of
from evolcoder.train.engine import build_engine, settle
from evolcoder.train.export import export
from evolcoder.train.job import ENCODED_FILE, HELD_OUT_FILE, METRICS_FILE, MetricsRow, TrainingJob, TrainingReport
from evolcoder.train.memory import Memory, forecast_memory
from evolcoder.train.model_size import read_shape
from evolcoder.train.schedule import (
    best_step,
    global_batch,
    is_over,
    learning_rate,
    measures_held_out,
    micro_batch_size,
    micro_batches,
    packed_micro_batches,
)
from evolcoder.train.shape import ModelShape, peak_flops, step_flops
from evolcoder.train.steps import MicroBatch, loss_tokens, optimizer_step, packed, padded, response_loss_sum
from evolcoder.train.trackers import TrackedRun, Trackers

NAMED_ROWS = 8
METRICS_INTERVAL_SECONDS = 5.0
"""The whole file is written each time, so not after every step."""


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
        # Where a model is nearly right its gradients are tiny, and processors compute slowly with numbers below 1e-38.
        torch.set_flush_denormal(True)
    gpu_has_bf16 = job.gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    precision = working_precision(job.settings, job.gpu, gpu_has_bf16, cpu_flags())
    job = settle(job, precision)
    try:
        _train(job, precision)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise TrainingError(_out_of_memory(job, precision)) from error


def _out_of_memory(job: TrainingJob, precision: Precision) -> str:
    """What was wanted, by part, and what would need less."""
    settings = job.settings
    rows, shape = micro_batch_size(settings, job.gpu), read_shape(job.base_model, settings)
    text = f"Out of memory with micro-batches of {rows} x {settings.sequence_length} tokens at ZeRO stage {settings.zero_stage}"
    if shape is not None:
        tokens, recompute = rows * settings.sequence_length, settings.gradient_checkpointing is True
        memory = forecast_memory(settings, shape, precision, job.gpu, tokens, recompute)
        parts = ", ".join(f"{name} {getattr(memory, name) / 2**30:.1f}" for name in Memory.__slots__)
        text += f", which take about {memory.total / 2**30:.1f} GiB a worker ({parts})"
    ways = ["lower train.micro_batch_size or train.sequence_length", "raise train.workers"]
    ways += ["raise train.zero_stage"] if settings.zero_stage < 3 else []
    ways += ["set train.gradient_checkpointing=true"] if settings.gradient_checkpointing is not True else []
    ways += ["set train.offload"] if settings.offload is None else []
    ways += ["train an adapter (train.lora)"] if settings.lora is None else []
    return f"{text}: {', '.join(ways[:-1])}, or {ways[-1]}."


def _train(job: TrainingJob, precision: Precision) -> None:
    reports = _RankZeroReports(job, precision)
    reports.phase("loading the model")
    tokenizer = AutoTokenizer.from_pretrained(job.base_model)
    engine = build_engine(job, precision)
    use = _Use.of(job) if job.gpu else None
    rows = read_table(job.work, ENCODED_FILE)
    held_out = [row_of(table, index) for table in (read_table(job.work, HELD_OUT_FILE),) for index in range(table.num_rows)]
    history, damages = checkpoints.resume(engine, job)
    for damage in damages:
        reports.phase(damage)
    reports.track(len(history))
    reports.phase(f"going on after step {len(history)}" if history else "training")
    due, patience, pad_id = checkpoints.Due(job.settings), job.settings.early_stop_patience, tokenizer.eos_token_id
    told_of: set[str] = set()
    while (step := len(history)) < job.steps and not is_over(history, patience):
        history.append(_train_step(engine, rows, job, step, pad_id, use))
        if measures_held_out(job.settings, step + 1, job.steps):
            history[-1]["held_out_loss"] = _held_out_loss(engine, held_out, job, pad_id)
        reports.step(history)
        is_best = patience is not None and best_step(history) == step + 1
        # Of nodes that their provider, or the autoscaler, is about to take away. All workers learn it after the same step.
        notice = ray.train.get_preemption_info()
        leaving = set() if notice is None else {*notice.preempted_node_ids} - told_of
        if is_best or leaving or (due(step + 1) and step + 1 < job.steps):
            checkpoints.save(engine, job, history)
        if leaving:
            told_of |= leaving
            reports.phase(f"{len(leaving)} of the nodes will be taken away: saved after step {step + 1}")
    reports.write(history)
    best = best_step(history)
    if patience is not None and best is not None and best < len(history):
        reports.phase(f"back to step {best}, whose loss on the rows that are held out was lowest")
        checkpoints.load(engine, job, best)
    reports.end_tracking()
    reports.phase("exporting the model")
    export(engine, tokenizer, job, precision)


@dataclass(frozen=True, slots=True)
class _Use:
    """How much of a GPU a step uses."""

    shape: ModelShape
    peak_flops: float

    @classmethod
    def of(cls, job: TrainingJob) -> _Use | None:
        """None for a GPU, or a model, that is not known."""
        shape, peak = read_shape(job.base_model, job.settings), peak_flops(torch.cuda.get_device_name())
        return None if shape is None or peak is None else cls(shape, peak)

    def share(self, lengths: Sequence[int], response_tokens: int, seconds: float) -> float:
        """Model FLOPs utilization of all workers' GPUs."""
        return step_flops(self.shape, lengths, response_tokens) / seconds / self.peak_flops / torch.distributed.get_world_size()


def _train_step(engine: Any, rows: pa.Table, job: TrainingJob, step: int, pad_id: int, use: _Use | None) -> MetricsRow:
    settings = job.settings
    rank = torch.distributed.get_rank()
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
    rate = learning_rate(settings, step, job.steps)
    result = optimizer_step(engine, _own_micro_batches(batch, job, pad_id), counted, rate)
    if not math.isfinite(result.loss):
        rows_there = f"{', '.join(result.diverged[:NAMED_ROWS])}{' and others' if len(result.diverged) > NAMED_ROWS else ''}"
        raise TrainingError(
            f"The loss is {result.loss} at step {step + 1}, on rows {rows_there}: training has diverged; lower "
            "train.learning_rate or lengthen train.warmup_steps, use bf16 instead of fp16, or look at the rows. The last "
            "checkpoint is kept."
        )
    seconds = time.perf_counter() - started
    return {
        "step": step + 1,
        "loss": result.loss,
        "learning_rate": rate,
        "grad_norm": result.grad_norm,
        "tokens": sum(lengths),
        "response_tokens": counted,
        "padding": round(1 - sum(lengths) / result.computed_tokens, 4),
        "seconds": round(seconds, 3),
        "ended_at": round(time.time(), 3),
        "memory_bytes": _peak_memory(job.gpu),
        "skipped_steps": engine.skipped_steps,
        **({"mfu": round(use.share(lengths, counted, seconds), 5)} if use else {}),
    }


def _own_micro_batches(rows: Sequence[EncodedRow], job: TrainingJob, pad_id: int) -> list[MicroBatch]:
    """What of these rows this worker takes; of a global batch all take as many."""
    rank, workers = torch.distributed.get_rank(), torch.distributed.get_world_size()
    size, lengths = micro_batch_size(job.settings, job.gpu), [len(row.tokens) for row in rows]
    if job.packs:
        capacity = size * job.settings.sequence_length
        return [packed(own) for own in packed_micro_batches(rows, lengths, rank, workers, capacity)]
    return [padded(own, pad_id) for own in micro_batches(rows, lengths, rank, workers, size)]


def _held_out_loss(engine: Any, rows: Sequence[EncodedRow], job: TrainingJob, pad_id: int) -> float:
    """The loss per response token on these rows. Every rank calls it."""
    mine = _own_micro_batches(rows, job, pad_id)
    counts: list[int] = [0] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(counts, len(mine))
    total = torch.zeros((), dtype=torch.float64, device=engine.device)
    engine.eval()
    with torch.no_grad():
        for batch in mine:
            total += response_loss_sum(engine, batch)
        for _ in range(max(counts) - len(mine)):  # ZeRO-3 gathers layers for all workers together, so none may sit out
            response_loss_sum(engine, packed(rows[:1]) if job.packs else padded(rows[:1], pad_id))
    engine.train()
    torch.distributed.all_reduce(total)
    return float(total) / loss_tokens(rows)


def _peak_memory(gpu: bool) -> int:
    """The most bytes that rank 0 has held so far, of its GPU, or of its process where there is none."""
    if gpu:
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class _RankZeroReports:
    """What rank 0 reports: progress to the launcher's board, metrics to their file. On other ranks it does nothing."""

    def __init__(self, job: TrainingJob, precision: Precision) -> None:
        self._job = job
        self._is_rank_zero = ray.train.get_context().get_world_rank() == 0
        self._fit_id = uuid.uuid4().hex
        self._report = TrainingReport(precision)
        self._trackers: Trackers | None = None
        self._written = time.monotonic()

    def phase(self, text: str) -> None:
        self._report.phases.append(text)
        if self._is_rank_zero:
            # Waited for: the launcher relies on the report of the first phase.
            ray.get(self._job.board.report.remote(self._fit_id, self._report))

    def track(self, steps_done: int) -> None:
        """Open what tracks the training, which has taken so many steps already."""
        job = self._job
        if self._is_rank_zero and job.settings.trackers:
            settings = job.settings.model_dump(mode="json")
            # The folder of this training's checkpoints is called by what decides the training.
            run = TrackedRun(job.variant.name, job.work.path.rpartition("/")[2], settings, job.out, steps_done)
            self._trackers = Trackers(job.settings.trackers, run, self.phase)

    def end_tracking(self) -> None:
        if self._trackers is not None:
            self._trackers.close()

    def step(self, history: list[MetricsRow]) -> None:
        """Metrics are written whole, from what the checkpoint and this process remember, so no step is there twice."""
        self._report.row = history[-1]
        if self._is_rank_zero:
            self._job.board.report.remote(self._fit_id, self._report)
            if self._trackers is not None:
                self._trackers.log(history[-1])
            if time.monotonic() - self._written > METRICS_INTERVAL_SECONDS:
                self.write(history)

    def write(self, history: list[MetricsRow]) -> None:
        if self._is_rank_zero:
            self._job.out.write_text(METRICS_FILE, "".join(json.dumps(row) + "\n" for row in history))
            self._written = time.monotonic()


def cpu_flags() -> frozenset[str]:
    """The processor's feature flags as Linux names them; none where /proc is not there."""
    try:
        text = Path("/proc/cpuinfo").read_text("ascii", errors="replace")
    except OSError:
        return frozenset()
    return frozenset(" ".join(re.findall(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)).split())
