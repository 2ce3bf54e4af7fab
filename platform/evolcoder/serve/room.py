"""For how many models at once a cluster has room, with what else their scoring takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Room:
    models: int
    """How many can be served side by side."""
    engine_cpus: int
    """What each engine reserves."""
    callers_cpus: int
    """What is left for those who ask one of the models."""


def room_for_models(nodes: Sequence[Mapping[str, float]], replicas: int) -> Room | None:
    """The room on these machines; None where there is none for two. Pure.

    On GPUs each engine has one, and a CPU. On CPUs an engine uses all cores of its machine: it reserves more than half of
    them, which keeps a second one off that machine and leaves the rest to callers.

    Args:
        nodes: the resources of each machine that runs, as Ray counts them.
        replicas: engines of each model.
    """
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    if gpus := int(sum(node.get("GPU", 0) for node in nodes)):
        engine_cpus, engines = 1, gpus
    else:
        machines = [count for count in cpus if count >= 3]
        engine_cpus, engines = min(machines, default=0) // 2 + 1, len(machines)
    models = min(engines // replicas, sum(cpus) // (engine_cpus * replicas + 1))
    if models < 2:
        return None
    return Room(models, engine_cpus, sum(cpus) // models - engine_cpus * replicas)
