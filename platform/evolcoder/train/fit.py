"""Running Ray Train from the driver: started, watched, started again when a worker was lost, its failures put in words.

``fit()`` runs in a thread of its own, so that this one can show progress and a Ctrl-C ends the verb at once; what Ray
started ends with the Ray session. Where several trainings are watched at once it runs in a process of its own: Ray shuts down
with one thread waiting in it, and not with two. What the workers do is in ``loop.py``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import ray
import ray.exceptions
from ray.train import (
    ControllerError,
    FailureConfig,
    PreemptionError,
    RunConfig,
    ScalingConfig,
    TrainingFailedError,
    WorkerGroupError,
)
from ray.train.torch import TorchConfig, TorchTrainer

from evolcoder.board import read_board
from evolcoder.cluster import beside_the_driver
from evolcoder.console import Progress, Reporter
from evolcoder.errors import ClusterError, EvolcoderError, TrainingError
from evolcoder.train.deepspeed import Precision
from evolcoder.train.internals import LOST_WORKER_ERRORS, lost_worker_cause
from evolcoder.train.job import TrainingJob, TrainingReport

MAX_RESTARTS = 3
MAX_PREEMPTIONS = 20
POLL_SECONDS = 0.5
NODES_START_SECONDS = 1800


def fit(job: TrainingJob, reporter: Reporter) -> Precision:
    """Train until the model is exported; returns the precision that the workers chose.

    Raises:
        TrainingError, ClusterError: another try would not mend it, or too many workers were lost.
    """
    restarts = 0
    seen: dict[str, TrainingReport] = {}
    reporter.say("starting the workers")
    with reporter.progress("training", job.steps) as progress:
        while (failure := _watched_fit(job, lambda: _show_new(job.board, seen, progress, reporter))) is not None:
            error, lost_worker = explain_failure(failure)
            if not lost_worker:
                raise error from None
            if restarts == MAX_RESTARTS:
                raise TrainingError(
                    f"{error.message}, the last of {restarts + 1} such failures. The same command goes on from the last "
                    f"checkpoint; the workers' logs are in {log_folder()}."
                ) from None
            restarts += 1
            reporter.warn(f"{error.message}; going on from the last checkpoint")
    *_, last = seen.values()
    return last.precision


def explain_failure(failure: Exception) -> tuple[EvolcoderError, bool]:
    """A failed fit in one sentence, and whether it was a lost worker, after which another try makes sense."""
    if isinstance(failure, ControllerError):
        return ClusterError(f"Ray Train could not run the workers: {_first_line(failure.controller_failure)}"), False
    if isinstance(failure, PreemptionError):
        return TrainingError(f"Nodes that trained were taken away, more than {MAX_PREEMPTIONS} times"), True
    if not isinstance(failure, WorkerGroupError):
        return TrainingError(f"Ray Train's controller was lost ({_first_line(failure)})"), True
    # When one worker fails, the others fail for want of it: the most telling error is the user's, then the lost worker.
    failures = failure.worker_failures
    for error in failures.values():
        if isinstance(error, EvolcoderError):
            return error, False
    for rank, error in sorted(failures.items()):
        if type(error).__name__ in LOST_WORKER_ERRORS:
            return TrainingError(f"Training worker {rank} was lost ({_first_line(lost_worker_cause(error))})"), True
    rank, error = min(failures.items())
    return TrainingError(
        f"Training worker {rank} failed with {type(error).__name__}: {_first_line(error)} (log: {log_folder()}; the same "
        "command goes on from the last checkpoint)."
    ), False


def log_folder() -> str:
    """Where this Ray session keeps its logs, those of the training workers among them."""
    context = ray.get_runtime_context()
    return f"{context.get_temp_dir()}/{context.get_session_name()}/logs/train"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(".")


def _watched_fit(job: TrainingJob, show: Callable[[], None]) -> Exception | None:
    """Run one fit, and show how far it is until it ends; returns how it failed, if it did."""
    if threading.current_thread() is threading.main_thread():
        failures: list[Exception | None] = []
        thread = threading.Thread(target=lambda: failures.append(_fit(job)), name="ray-train-fit", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(POLL_SECONDS)
            show()
        return failures[0] if failures else None
    # In a process of Ray's beside the driver, for a thread that must not wait in Ray for as long as a fit takes.
    options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": beside_the_driver()}
    fitting = ray.remote(_fit).options(**options).remote(job)
    while not ray.wait([fitting], timeout=POLL_SECONDS)[0]:
        show()
    show()
    failure: Exception | None
    try:
        failure = ray.get(fitting)
    except ray.exceptions.RayError as error:
        failure = error
    return failure


def _fit(job: TrainingJob) -> Exception | None:
    from evolcoder.train.loop import train_worker

    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(NODES_START_SECONDS))
    storage_path, _, name = job.work.path.rpartition("/")
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"job": job},
        torch_config=TorchConfig(backend="nccl" if job.gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=job.settings.workers,
            use_gpu=job.gpu,
            resources_per_worker={"CPU": job.cpus_each, **({"GPU": 1} if job.gpu else {})},
        ),
        run_config=RunConfig(
            name=name,
            storage_path=storage_path,
            storage_filesystem=job.work.filesystem,
            # Worker failures come back at once: this module knows which of them another try can mend.
            failure_config=FailureConfig(
                max_failures=0, controller_failure_limit=MAX_RESTARTS, max_preemption_failures=MAX_PREEMPTIONS
            ),
        ),
    )
    failure: Exception | None = None
    try:
        trainer.fit()
    except (TrainingFailedError, ray.exceptions.RayError) as error:
        failure = error
    return failure


def _show_new(board: Any, seen: dict[str, TrainingReport], progress: Progress, reporter: Reporter) -> None:
    """Say the phases and the step that rank 0 has reported since; ``seen`` holds its last report of each fit."""
    reporter.check_wanted()
    for fit_id, report in (read_board(board) or {}).items():
        before = seen.get(fit_id, TrainingReport(report.precision))
        for phase in report.phases[len(before.phases) :]:
            reporter.say(phase)
        row = report.row
        if row is not None and row != before.row:
            progress.update(
                row["step"],
                loss=round(row["loss"], 4),
                learning_rate=row["learning_rate"],
                tokens_per_second=round(row["tokens"] / max(row["seconds"], 1e-3)),
            )
        seen[fit_id] = report
