"""What a model computes and keeps, beside what torch counts of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

from evolcoder.train.attention import PACKED
from evolcoder.train.encode import EncodedRow
from evolcoder.train.memory import layer_elements
from evolcoder.train.schedule import PACKABLE_MODELS
from evolcoder.train.shape import ModelShape, peak_flops, shape_of, step_flops, with_adapter_of
from evolcoder.train.steps import packed, padded, response_loss_sum

LLAMA = {"hidden_size": 128, "intermediate_size": 320, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32}
SHAPES: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "qwen2": LLAMA,
    "starcoder2": LLAMA | {"sliding_window": None, "residual_dropout": 0.0, "embedding_dropout": 0.0},
    "gpt_bigcode": {
        "n_embd": 128, "n_inner": 320, "n_head": 4, "multi_query": True,
        "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
    },
}  # fmt: skip
LENGTHS = [64, 96]


class Engine:
    device = torch.device("cpu")

    def __init__(self, kind: str, layers: int, dtype: torch.dtype, attention: str = PACKED, **config: Any) -> None:
        torch.manual_seed(0)
        depth = {"n_layer" if kind == "gpt_bigcode" else "num_hidden_layers": layers}
        self.config = AutoConfig.for_model(kind, **{"vocab_size": 97} | SHAPES[kind] | depth | config)
        self.module = AutoModelForCausalLM.from_config(self.config, attn_implementation=attention, dtype=dtype)

    def __call__(self, **inputs: Any) -> Any:
        return self.module(**inputs)

    def shape(self) -> ModelShape:
        found = shape_of(self.config.to_dict(), self.module.num_parameters())
        assert found is not None
        return found

    def loss(self, prompt_tokens: int = 1) -> torch.Tensor:
        return response_loss_sum(self, packed([EncodedRow([5] * length, prompt_tokens) for length in LENGTHS]))

    def kept_bytes(self) -> int:
        """Of what autograd keeps for the backward pass, but for the parameters."""
        parameters = {weight.untyped_storage().data_ptr() for weight in self.module.parameters()}
        sizes, alive = {}, []

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in parameters:
                sizes[storage.data_ptr()] = storage.nbytes()
                alive.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            self.loss()
        return sum(sizes.values())


def test_every_kind_that_is_packed_is_tried_here() -> None:
    assert set(SHAPES) == PACKABLE_MODELS


@pytest.mark.parametrize("kind", SHAPES)
def test_a_layer_keeps_what_autograd_keeps_of_it(kind: str) -> None:
    three, two = (Engine(kind, layers, torch.bfloat16) for layers in (3, 2))
    kept = (three.kept_bytes() - two.kept_bytes()) / sum(LENGTHS)
    # Beside them are a few numbers a token, normalizers of norms and of attention.
    assert 2 * layer_elements(three.shape()) == pytest.approx(kept, rel=0.05)


def counted_flops(engine: Engine, prompt_tokens: int) -> int:
    """As torch counts them, which sees the products within attention only where they are not one kernel."""
    with FlopCounterMode(display=False) as counter:
        for length in LENGTHS:
            response_loss_sum(engine, padded([EncodedRow([5] * length, prompt_tokens)], pad_id=0)).backward()
    return int(counter.get_total_flops())


def unmasked(shape: ModelShape) -> float:
    """What attention would do more if no mask left half of it out: torch counts all of it."""
    return 6 * shape.layers * shape.queries * sum(length**2 for length in LENGTHS)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("prompt_tokens", [1, 40])
def test_operations_are_those_that_torch_counts(kind: str, prompt_tokens: int) -> None:
    engine = Engine(kind, 2, torch.float32, attention="eager")
    shape, responses = engine.shape(), sum(length - prompt_tokens for length in LENGTHS)
    found = step_flops(shape, LENGTHS, responses) + unmasked(shape)
    assert found == pytest.approx(counted_flops(engine, prompt_tokens), rel=0.01)


def test_an_adapter_spares_the_gradients_of_the_weights_beside_it() -> None:
    engine = Engine("llama", 2, torch.float32, attention="eager")
    for weight in engine.module.parameters():
        weight.requires_grad_(False)
    engine.module.get_input_embeddings().weight.requires_grad_(True)  # as far back as an adapter's gradients go
    shape = replace(engine.shape(), adapter=0)
    found = step_flops(shape, LENGTHS, sum(LENGTHS) - 2) + unmasked(shape)
    assert found == pytest.approx(counted_flops(engine, 1), rel=0.01)
    assert step_flops(replace(shape, adapter=1000), LENGTHS, 3) - step_flops(shape, LENGTHS, 3) == 6 * 1000 * sum(LENGTHS)


@pytest.mark.parametrize("kind", SHAPES)
def test_an_adapter_has_as_many_parameters_as_peft_makes(kind: str) -> None:
    from evolcoder.settings.run import LoraSettings
    from evolcoder.train.engine import with_adapter

    engine = Engine(kind, 3, torch.float32)
    shape = with_adapter_of(engine.shape(), 4)
    model = with_adapter(engine.module, LoraSettings(rank=4))
    made = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert shape.adapter == pytest.approx(made, rel=0.2)
    assert shape.trained == shape.adapter


def test_published_models_have_their_published_sizes() -> None:
    """StarCoder's config.json (bigcode/starcoderbase) and its 15,517,456,384 parameters."""
    config = {
        "model_type": "gpt_bigcode", "n_embd": 6144, "n_layer": 40, "n_head": 48, "n_inner": 24576, "n_positions": 8192,
        "vocab_size": 49152, "multi_query": True, "resid_pdrop": 0.1,
    }  # fmt: skip
    shape = shape_of(config, 15_517_456_384)
    assert shape is not None
    assert (shape.keys, shape.dropout, shape.tied, shape.gated) == (128, True, True, False)
    assert shape.body == 15_517_456_384 - (49152 + 8192) * 6144
    per_layer = 6144 * (6144 + 2 * 128) + 6144 * 6144 + 2 * 6144 * 24576
    assert shape.body == pytest.approx(40 * per_layer, rel=0.001)


@pytest.mark.parametrize("config", [{}, {"hidden_size": 8}, {"d_model": 8, "num_layers": 2, "vocab_size": 9}])
def test_a_configuration_of_another_kind_has_no_shape(config: dict[str, Any]) -> None:
    assert shape_of(config, 100) is None


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA H200", 989), ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L40S", 362), ("NVIDIA L4", 121), ("NVIDIA A10G", 70), ("Tesla T4", 65), ("GeForce GTX 1050", None),
    ],
)  # fmt: skip
def test_the_peak_of_a_card_is_found_by_its_name(name: str, teraflops: int | None) -> None:
    assert peak_flops(name) == (teraflops * 1e12 if teraflops else None)
