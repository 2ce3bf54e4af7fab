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


def test_deepspeed_keeps_flat_32_bit_parameters_and_links_them_where_checkpoints_look() -> None:
    from deepspeed.runtime import bf16_optimizer
    from deepspeed.runtime.zero import stage3, stage_1_and_2

    for module in (stage_1_and_2, bf16_optimizer):
        source = inspect.getsource(module)
        for name in ("self._hp_optimizer_states_linked", "def _lazy_init_hp_params_optimizer_state", "optimizer.param_groups"):
            assert name in source, f"DeepSpeed's {module.__name__} no longer has {name}: see link_moments"
    for name in ("self.fp32_partitioned_groups_flat", "ds_tensor"):
        assert name in inspect.getsource(stage3), f"DeepSpeed's stage 3 no longer has {name}: see start_moments"


def test_deepspeeds_dynamic_loss_scale_is_described_by_what_checkpoints_keep() -> None:
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler

    def scaler() -> Any:
        its = DynamicLossScaler(init_scale=2**16, scale_window=2, min_scale=1, delayed_shift=2, consecutive_hysteresis=False)
        return SimpleNamespace(optimizer=SimpleNamespace(loss_scaler=its))

    told, fresh = scaler(), scaler()
    told.optimizer.loss_scaler.__dict__ |= {"cur_scale": 2**13, "cur_iter": 9, "last_overflow_iter": 4, "cur_hysteresis": 1}
    internals.set_loss_scaler_state(fresh, internals.loss_scaler_state(told))
    assert vars(fresh.optimizer.loss_scaler) == vars(told.optimizer.loss_scaler), "see loss_scaler_state"
    plain: Any = SimpleNamespace(optimizer=SimpleNamespace())
    internals.set_loss_scaler_state(plain, internals.loss_scaler_state(told))
    assert internals.loss_scaler_state(plain) == {}


def test_the_shape_of_a_partitioned_parameter_is_never_that_of_an_empty_tensor() -> None:
    whole: Any = SimpleNamespace(shape=(4, 2))
    assert internals.whole_shape(whole) == (4, 2)
    assert internals.whole_shape(SimpleNamespace(shape=(0,), ds_shape=(4, 2))) == (4, 2)


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
