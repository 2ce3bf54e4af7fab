"""What training needs of DeepSpeed (read in 0.19.8) and Ray (2.60.0) that has no public name there, and nothing else.

``tests/train/test_internals.py`` fails when a later version has moved any of it. Each import is left to the call: the driver
has no need of DeepSpeed, nor a worker of Ray's cluster state.
"""

from __future__ import annotations

from typing import Any

LOST_WORKER_ERRORS = {"WorkerHealthCheckFailedError", "WorkerHealthCheckTimeoutError", "DistBackendError", "DistNetworkError"}
"""Names, as a worker's exception may come back as a class that Ray derived from the original: two of Ray Train's, two of
torch.distributed's."""


def use_no_compiled_collectives() -> None:
    """Have DeepSpeed's collectives on CPUs done by gloo; call it before ``init_distributed``.

    DeepSpeed compiles a shared-memory operator at first use when its table of operators says that this machine can.
    """
    import deepspeed

    deepspeed.ops.__compatible_ops__ = {}


def gathered_weights(engine: Any) -> dict[str, Any] | None:
    """All weights of a ZeRO-3 engine in its working precision on rank 0, None elsewhere; every rank calls it.

    They are gathered layer by layer, so that a GPU holds no more than one whole layer.
    """
    weights: dict[str, Any] | None = engine._zero3_consolidated_16bit_state_dict()
    return weights


def whole_shape(parameter: Any, partitioned: bool) -> tuple[int, ...]:
    """The shape of a parameter; where ZeRO-3 has partitioned it, its own shape is that of an empty tensor."""
    return tuple(parameter.ds_shape if partitioned else parameter.shape)


def most_resources() -> dict[str, float]:
    """What an autoscaling cluster may grow to; empty for one that does not grow."""
    from ray._private.state import state

    return state.get_max_resources_from_cluster_config() or {}


def lost_worker_cause(error: BaseException) -> BaseException:
    """What ended the worker that a health check found gone, else the error itself."""
    return getattr(error, "health_check_failure", error)
