"""What training needs of DeepSpeed (read in 0.19.8) and Ray (2.60.0) that has no public name there, and nothing else.

``tests/train/test_internals.py`` fails when a later version has moved any of it. Each import is left to the call: the driver
has no need of DeepSpeed, nor a worker of Ray's cluster state.
"""

from __future__ import annotations

from collections.abc import Mapping
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


def whole_shape(parameter: Any) -> tuple[int, ...]:
    """The shape of a parameter; where ZeRO-3 has partitioned it, its own shape is that of an empty tensor."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


STATES = ("weight", "exp_avg", "exp_avg_sq")
"""What Adam keeps of each trained parameter, in 32 bits: the parameter itself, and the running means of its gradient and of the
gradient's square, as torch names them.
"""
_SCALER = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")


def full_state(engine: Any, parameter: Any, kind: str) -> Any:
    """One of ``STATES`` of a parameter, whole; every rank calls it, and gets it."""
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

    if _adam(engine) is engine.optimizer:  # 32 bits without ZeRO: DeepSpeed keeps no copy of its own
        return parameter if kind == "weight" else _adam(engine).state[parameter][kind]
    return safe_get_full_fp32_param(parameter) if kind == "weight" else safe_get_full_optimizer_state(parameter, kind)


def set_full_state(engine: Any, parameter: Any, kind: str, value: Any) -> None:
    """Put it back, each rank its part of it, and have the working copy of a weight follow."""
    import torch
    from deepspeed.utils import (
        safe_set_full_fp32_param,
        safe_set_full_optimizer_state,
        safe_set_local_fp32_param,
        safe_set_local_optimizer_state,
    )

    if _adam(engine) is engine.optimizer:
        (parameter.data if kind == "weight" else _adam(engine).state[parameter][kind]).copy_(value)
    elif hasattr(parameter, "ds_tensor"):
        # Each rank has an equal part of the flat parameter, the last one padded: DeepSpeed's own way to set it whole
        # fails for a parameter that does not divide.
        size = parameter.ds_tensor.numel()
        start = size * torch.distributed.get_rank()
        part = torch.zeros(size, dtype=value.dtype)
        own = value.flatten()[start : start + size]
        part[: own.numel()] = own
        if kind == "weight":
            safe_set_local_fp32_param(parameter, part)
            parameter.ds_tensor.data.copy_(part)
            if parameter.numel() == value.numel():  # small ones are kept whole on every rank
                parameter.data.copy_(value)
        else:
            safe_set_local_optimizer_state(parameter, part, kind)
    elif kind == "weight":
        safe_set_full_fp32_param(parameter, value)
        parameter.data.copy_(value)
    else:
        safe_set_full_optimizer_state(parameter, value, kind)


def start_moments(engine: Any, steps: int) -> None:
    """Give Adam the states that it would make in its first step, all zero, as if it had taken ``steps`` of them."""
    import torch

    adam = _adam(engine)
    for master in _masters(engine):
        adam.state[master] = {
            "step": torch.tensor(float(steps), device=master.device),
            "exp_avg": torch.zeros_like(master),
            "exp_avg_sq": torch.zeros_like(master),
        }
    link_moments(engine)


def link_moments(engine: Any) -> None:
    """Have each parameter find its part of its group's flat moments, under ZeRO 1 and 2.

    DeepSpeed does so itself after its first step of the first group of parameters, when the others have no moments yet, and
    never again.
    """
    if hasattr(engine.optimizer, "_hp_optimizer_states_linked"):
        engine.optimizer._hp_optimizer_states_linked = False
        engine.optimizer._lazy_init_hp_params_optimizer_state()


def loss_scaler_state(engine: Any) -> dict[str, Any]:
    """Where a dynamic loss scale stands; empty where there is none."""
    scaler = getattr(engine.optimizer, "loss_scaler", None)
    return (
        {name: getattr(scaler, name) for name in _SCALER if hasattr(scaler, name)} if getattr(scaler, "dynamic", False) else {}
    )


def set_loss_scaler_state(engine: Any, state: Mapping[str, Any]) -> None:
    """As it was saved; a training that goes on in another precision has no use for it."""
    if loss_scaler_state(engine):
        for name, value in state.items():
            setattr(engine.optimizer.loss_scaler, name, value)


def _adam(engine: Any) -> Any:
    """The optimizer of torch's that all others are wrapped around."""
    return getattr(engine.optimizer, "optimizer", engine.optimizer)


def _masters(engine: Any) -> list[Any]:
    """This rank's 32-bit parameters, flat under ZeRO."""
    if engine.zero_optimization_partition_weights():
        return list(engine.optimizer.fp32_partitioned_groups_flat)
    return [parameter for group in _adam(engine).param_groups for parameter in group["params"]]


def most_resources() -> dict[str, float]:
    """What an autoscaling cluster may grow to; empty for one that does not grow."""
    from ray._private.state import state

    return state.get_max_resources_from_cluster_config() or {}


def lost_worker_cause(error: BaseException) -> BaseException:
    """What ended the worker that a health check found gone, else the error itself."""
    return getattr(error, "health_check_failure", error)
