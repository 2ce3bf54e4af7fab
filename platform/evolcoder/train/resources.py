"""Whether the cluster has, or can ever have, what a training asks for."""

from __future__ import annotations

from collections.abc import Mapping

from evolcoder.console import Reporter
from evolcoder.errors import ClusterError
from evolcoder.settings.run import TrainSettings
from evolcoder.train.internals import most_resources


def check_resources(settings: TrainSettings, reporter: Reporter) -> bool:
    """Whether the workers get GPUs: they do as soon as the cluster has, or can start, any.

    Raises:
        ClusterError: the cluster can never have one GPU (or, without GPUs, one CPU) for each worker.
    """
    import ray

    gpu, missing = choose_device(settings, ray.cluster_resources(), most_resources())
    if missing:
        reporter.say(f"waiting for the cluster to start {missing} more {'GPU' if gpu else 'CPU'}s")
    return gpu


def choose_device(settings: TrainSettings, now: Mapping[str, float], ever: Mapping[str, float]) -> tuple[bool, int]:
    """Whether to train on GPUs, and how many devices have yet to be started. Pure.

    Args:
        now: what the nodes that run have, as ``ray.cluster_resources`` says.
        ever: what an autoscaling cluster may grow to; empty for one that does not grow.
    """
    gpus, cpus = (int(max(now.get(kind, 0), ever.get(kind, 0))) for kind in ("GPU", "CPU"))
    gpu = gpus > 0
    most, kind = (gpus, "GPU") if gpu else (cpus, "CPU")
    if settings.workers > most:
        grows = "can grow to" if ever else "has"
        none = "" if gpu else " and no GPU"
        raise ClusterError(
            f"train.workers={settings.workers} needs {settings.workers} {kind}s, but the cluster {grows} {most}{none}; "
            f"set train.workers to {max(most, 1)} or less, or name a larger cluster in RAY_ADDRESS."
        )
    return gpu, max(0, settings.workers - int(now.get(kind, 0)))
