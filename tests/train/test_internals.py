"""Each of these fails when a newer DeepSpeed or Ray no longer has what ``internals.py`` uses: mend it there."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest

from evolcoder.train import internals


def test_deepspeed_asks_its_table_of_operators_before_it_compiles_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    import deepspeed

    backend = sys.modules["deepspeed.comm.torch"]  # as an attribute of its package that name is torch itself

    builder = SimpleNamespace(NAME="shm", load=lambda: "compiled", absolute_name=lambda: "shm")
    accelerator = SimpleNamespace(create_op_builder=lambda name: builder)
    monkeypatch.setattr(backend, "get_accelerator", lambda: accelerator)
    monkeypatch.setitem(vars(deepspeed.ops), "__compatible_ops__", {"shm": True})
    moved = "DeepSpeed no longer reads deepspeed.ops.__compatible_ops__ in comm/torch.py: see use_no_compiled_collectives"
    assert backend.build_shm_op() == "compiled", moved
    internals.use_no_compiled_collectives()
    assert backend.build_shm_op() is None, moved


def test_deepspeed_gathers_the_weights_of_zero_3() -> None:
    from deepspeed.runtime.engine import DeepSpeedEngine

    method = getattr(DeepSpeedEngine, "_zero3_consolidated_16bit_state_dict", None)
    assert method is not None, "DeepSpeed's engine gathers its weights under another name: see gathered_weights"
    required = [p.name for p in inspect.signature(method).parameters.values() if p.default is p.empty]
    assert required == ["self"], "DeepSpeed's engine wants more to gather its weights: see gathered_weights"


def test_deepspeed_keeps_the_whole_shape_beside_a_partitioned_parameter() -> None:
    from deepspeed.runtime.zero import partition_parameters

    source = inspect.getsource(partition_parameters)
    assert "param.ds_shape = param.shape" in source, "DeepSpeed keeps the shape under another name: see whole_shape"


def test_the_shape_of_a_partitioned_parameter_is_never_that_of_an_empty_tensor() -> None:
    whole: Any = SimpleNamespace(shape=(4, 2))
    assert internals.whole_shape(whole, partitioned=False) == (4, 2)
    assert internals.whole_shape(SimpleNamespace(shape=(0,), ds_shape=(4, 2)), partitioned=True) == (4, 2)
    with pytest.raises(AttributeError, match="ds_shape"):
        internals.whole_shape(whole, partitioned=True)


def test_ray_says_what_a_cluster_may_grow_to(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private.state import state

    name = "get_max_resources_from_cluster_config"
    assert hasattr(state, name), "Ray knows the largest cluster under another name: see most_resources"
    for told, expected in ((None, {}), ({"CPU": 8}, {"CPU": 8})):
        monkeypatch.setattr(state, name, lambda told=told: told)
        assert internals.most_resources() == expected


def test_the_errors_of_lost_workers_have_the_names_that_are_looked_for() -> None:
    import torch.distributed
    from ray.train.v2._internal import exceptions

    unknown = internals.LOST_WORKER_ERRORS - {*vars(exceptions), *vars(torch.distributed)}
    assert not unknown, "Ray Train or torch calls these errors otherwise: see LOST_WORKER_ERRORS"
    died = RuntimeError("The actor died.")
    lost = exceptions.WorkerHealthCheckFailedError("x", died)
    assert internals.lost_worker_cause(lost) is died, "Ray Train keeps the cause elsewhere: see lost_worker_cause"
    assert internals.lost_worker_cause(died) is died
