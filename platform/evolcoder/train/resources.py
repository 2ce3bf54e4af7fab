"""Whether the cluster has, or can ever have, what a training asks for, and for how many of them at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evolcoder.cluster import machines
from evolcoder.errors import ClusterError
from evolcoder.settings.run import TrainSettings
from evolcoder.train.internals import most_resources


@dataclass(frozen=True, slots=True)
class Room:
    """How many trainings of these settings run side by side, and how many CPUs each of their workers reserves."""

    trainings: int
    cpus_each: int = 1


def room_now(settings: TrainSettings) -> Room:
    """What the cluster that this process is connected to has room for."""
    return room_in(settings, machines(), most_resources())


def room_in(settings: TrainSettings, nodes: Sequence[Mapping[str, float]], ever: Mapping[str, float]) -> Room:
    """How many gangs of ``train.workers`` fit at once, one at least: whether one fits at all is another question. Pure.

    On GPUs, as many as there are, or can be, for them. On CPUs a training uses all cores of the machines that it runs on, so
    each gang gets machines of its own, as few as will do, and reserves their CPUs, which keeps the next one off them.

    Args:
        nodes: the resources of each machine that runs. ever: what an autoscaling cluster may grow to, else empty.
    """
    gpus = int(max(sum(node.get("GPU", 0) for node in nodes), ever.get("GPU", 0)))
    if gpus:
        return Room(max(1, gpus // settings.workers))
    free = sorted((cpus for node in nodes if (cpus := int(node.get("CPU", 0)))), reverse=True)
    trainings = smallest = 0
    while sum(free) >= settings.workers:
        gang = 0
        while gang < settings.workers:
            smallest = free.pop(0)
            gang += smallest
        trainings += 1
    return Room(trainings, max(1, smallest // settings.workers)) if trainings > 1 else Room(1)


def choose_device(settings: TrainSettings, now: Mapping[str, float], ever: Mapping[str, float]) -> tuple[bool, int]:
    """Whether to train on GPUs (if the cluster has any, or can start some), and how many devices have yet to be started. Pure.

    Args:
        now: what the nodes that run have, as ``ray.cluster_resources`` says.
        ever: what an autoscaling cluster may grow to; empty for one that does not grow.

    Raises:
        ClusterError: the cluster can never have one GPU (or, without GPUs, one CPU) for each worker.
    """
    gpu = max(now.get("GPU", 0), ever.get("GPU", 0)) >= 1
    kind = "GPU" if gpu else "CPU"
    most = int(max(now.get(kind, 0), ever.get(kind, 0)))
    if settings.workers > most:
        grows = "can grow to" if ever else "has"
        none = "" if gpu else " and no GPU"
        raise ClusterError(
            f"train.workers={settings.workers} needs {settings.workers} {kind}s, but the cluster {grows} {most}{none}; "
            f"set train.workers to {max(most, 1)} or less, or name a larger cluster in RAY_ADDRESS."
        )
    return gpu, max(0, settings.workers - int(now.get(kind, 0)))
