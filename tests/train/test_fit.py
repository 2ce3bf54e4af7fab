from __future__ import annotations

import pytest
from ray.train import ControllerError, WorkerGroupError
from ray.train.v2._internal.exceptions import (
    InsufficientClusterResourcesError,
    WorkerHealthCheckFailedError,
)

from evolcoder.errors import ClusterError, TrainingError
from evolcoder.train import fit as fit_module
from evolcoder.train.fit import explain_failure

LOST = WorkerHealthCheckFailedError("A worker health check failed.", RuntimeError("The actor died.\nMore lines."))


@pytest.fixture(autouse=True)
def _no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_module, "log_folder", lambda: "LOGS")


def test_the_users_error_wins_over_what_the_other_workers_say() -> None:
    ours = TrainingError("The loss is nan.")
    error, lost = explain_failure(WorkerGroupError("x", {0: RuntimeError("Connection closed by peer"), 1: ours}))
    assert (error, lost) == (ours, False)


def test_a_lost_worker_is_worth_another_try_and_is_named() -> None:
    error, lost = explain_failure(WorkerGroupError("x", {0: RuntimeError("Connection closed by peer"), 3: LOST}))
    assert (error.message, lost) == ("Training worker 3 was lost (The actor died)", True)


def test_any_other_exception_is_one_sentence_and_final() -> None:
    error, lost = explain_failure(WorkerGroupError("x", {1: KeyError("b"), 0: ValueError("bad\ntraceback")}))
    assert error.message.startswith("Training worker 0 failed with ValueError: bad (log: LOGS;")
    assert not lost


def test_what_the_controller_cannot_do_is_final() -> None:
    error, lost = explain_failure(ControllerError(InsufficientClusterResourcesError("Too few GPUs.\nReduce.")))
    assert isinstance(error, ClusterError)
    assert (error.message, lost) == ("Ray Train could not run the workers: Too few GPUs", False)
