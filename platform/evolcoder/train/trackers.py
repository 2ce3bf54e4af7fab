"""What a training tells the trackers that a team already watches: TensorBoard, MLflow, Weights & Biases.

``metrics.jsonl`` is the record; a tracker shows a copy of it. A training that goes on after a kill goes on in the same place
there. Where a tracker keeps its runs, and whose they are, is for its own environment variables to say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal

from evolcoder.errors import TrainingError
from evolcoder.storage.folders import Folder

TrackerName = Literal["tensorboard", "mlflow", "wandb"]
Figures = Mapping[str, float]
_PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
TENSORBOARD_FOLDER = "tensorboard"
PROJECT = "evolcoder"
_NOT_SHOWN = frozenset({"step", "ended_at"})


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """The training as trackers know it. ``identity`` is the same after a restart, before which there were ``steps_done``."""

    name: str
    identity: str
    settings: Mapping[str, Any]
    folder: Folder
    steps_done: int


def check_trackers(names: Sequence[TrackerName], folder: Folder) -> None:
    """See that each can be had, before anything is trained.

    Raises:
        TrainingError: its package is not installed, or it cannot write where the run is.
    """
    for name in names:
        if find_spec(_PACKAGES[name]) is None:
            raise TrainingError(
                f"train.trackers: {name} needs the package {_PACKAGES[name]}, which is not installed; `pip install "
                f"{_PACKAGES[name]}`, or leave {name} out."
            )
    if "tensorboard" in names and not folder.is_local:
        raise TrainingError(
            f"train.trackers: tensorboard writes into the run's folder, and only a local one, not {folder}; take mlflow or "
            "wandb, or leave it out."
        )


class Trackers:
    """All that a training has. One that fails is told of, once, and left out from then on: it must cost no training."""

    def __init__(self, names: Sequence[TrackerName], run: TrackedRun, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._open: dict[str, Any] = {}
        for name in names:
            made = self._trying(name, partial(_OPENERS[name], run))
            if made is not None:
                self._open[name] = made

    def log(self, row: Mapping[str, Any]) -> None:
        """The figures of one step, as ``metrics.jsonl`` has them."""
        figures = {f"train/{key}": float(value) for key, value in row.items() if key not in _NOT_SHOWN and value is not None}
        for name, (log, _) in list(self._open.items()):
            self._trying(name, partial(log, figures, row["step"]))

    def close(self) -> None:
        for name, (_, close) in list(self._open.items()):
            self._trying(name, close)

    def _trying(self, name: str, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except Exception as error:  # noqa: BLE001 (of a library, about a server: whatever it is, training goes on)
            self._open.pop(name, None)
            reason = " ".join(str(error).split())[:200]
            self._warn(f"train.trackers: nothing more is sent to {name}, which failed with {type(error).__name__}: {reason}")
            return None


_Opened = tuple[Callable[[Figures, int], None], Callable[[], None]]
"""To log the figures of a step, and to end."""


def _open_tensorboard(run: TrackedRun) -> _Opened:
    from tensorboardX import SummaryWriter

    # Of steps that were logged before a kill and are taken again, the viewer shows the new ones.
    writer = SummaryWriter(str(run.folder.local_path / TENSORBOARD_FOLDER), purge_step=run.steps_done + 1)

    def log(figures: Figures, step: int) -> None:
        for name, value in figures.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return log, writer.close


def _open_mlflow(run: TrackedRun) -> _Opened:
    import mlflow

    if not {"MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"} & set(os.environ):
        mlflow.set_experiment(PROJECT)
    known = mlflow.search_runs(filter_string=f"tags.training = '{run.identity}'", output_format="list")
    if known:
        mlflow.start_run(run_id=known[0].info.run_id)
    else:
        mlflow.start_run(run_name=run.name, tags={"training": run.identity})
        mlflow.log_params(dict(run.settings))
    return lambda figures, step: mlflow.log_metrics(dict(figures), step=step), mlflow.end_run


def _open_wandb(run: TrackedRun) -> _Opened:
    import wandb

    project = os.environ.get("WANDB_PROJECT", PROJECT)
    opened = wandb.init(project=project, name=run.name, id=run.identity, resume="allow", config=dict(run.settings))
    return lambda figures, step: opened.log(dict(figures), step=step), opened.finish


_OPENERS: dict[str, Callable[[TrackedRun], _Opened]] = {
    "tensorboard": _open_tensorboard,
    "mlflow": _open_mlflow,
    "wandb": _open_wandb,
}
