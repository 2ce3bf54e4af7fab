"""That rows packed one behind the other teach a model what they teach it alone."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from evolcoder.errors import TrainingError
from evolcoder.run.variants import up_to
from evolcoder.settings.run import TrainSettings
from evolcoder.storage.folders import Folder
from evolcoder.train.attention import PACKED
from evolcoder.train.encode import EncodedRow
from evolcoder.train.engine import build_engine
from evolcoder.train.job import TrainingJob
from evolcoder.train.schedule import PACKABLE_MODELS
from evolcoder.train.steps import MicroBatch, loss_tokens, packed, padded, response_loss_sum

SHAPE = {"vocab_size": 97, "max_position_embeddings": 128, "eos_token_id": 0, "bos_token_id": 1}
LLAMA = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
SHAPES: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "qwen2": LLAMA,
    "starcoder2": LLAMA | {"sliding_window": 8, "residual_dropout": 0.0, "embedding_dropout": 0.0},
    "gpt_bigcode": GPT | {"multi_query": True},
}
ROWS = [EncodedRow([(7 * n + length) % 90 + 3 for n in range(length)], length // 3) for length in (21, 1, 2, 17, 9, 30)]


class Engine:
    """A model called as a DeepSpeed engine is."""

    device = torch.device("cpu")

    def __init__(self, kind: str, attention: str = "sdpa") -> None:
        torch.manual_seed(0)
        config = AutoConfig.for_model(kind, **SHAPE, **SHAPES[kind])
        self.module = AutoModelForCausalLM.from_config(config, attn_implementation=attention).double()

    def __call__(self, **inputs: Any) -> Any:
        return self.module(**inputs)

    def learn(self, *batches: MicroBatch) -> tuple[float, dict[str, torch.Tensor]]:
        """The loss of all of them together, and its gradients."""
        losses = [response_loss_sum(self, batch) for batch in batches]
        torch.stack(losses).sum().backward()
        gradients = {name: weight.grad for name, weight in self.module.named_parameters() if weight.grad is not None}
        return sum(float(loss.detach()) for loss in losses), gradients


def rows_with_loss() -> list[EncodedRow]:
    return [row for row in ROWS if loss_tokens([row])]


def assert_same(found: tuple[float, dict[str, torch.Tensor]], wanted: tuple[float, dict[str, torch.Tensor]]) -> None:
    assert found[0] == pytest.approx(wanted[0], rel=1e-5)
    assert found[1].keys() == wanted[1].keys()
    for name, gradient in wanted[1].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_every_kind_that_is_packed_is_tried_here() -> None:
    assert set(SHAPES) == PACKABLE_MODELS


@pytest.mark.parametrize("kind", SHAPES)
def test_packed_rows_have_the_loss_and_the_gradients_of_rows_alone(kind: str) -> None:
    alone = Engine(kind).learn(*(padded([row], pad_id=0) for row in rows_with_loss()))
    assert_same(Engine(kind, PACKED).learn(packed(ROWS)), alone)
    assert_same(Engine(kind).learn(padded(ROWS, pad_id=0)), alone)


@pytest.mark.parametrize("kind", SHAPES)
def test_rows_that_see_each_other_are_found_out(kind: str) -> None:
    alone = Engine(kind).learn(*(padded([row], pad_id=0) for row in rows_with_loss()))
    batch = packed(ROWS)
    crossing = Engine(kind, PACKED).learn(replace(batch, lengths=[batch.ids.numel()]))
    with pytest.raises(AssertionError):
        assert_same(crossing, alone)


def test_learned_positions_that_do_not_start_anew_are_found_out() -> None:
    alone = Engine("gpt_bigcode").learn(*(padded([row], pad_id=0) for row in rows_with_loss()))
    engine = Engine("gpt_bigcode", PACKED)
    going_on = torch.arange(sum(len(row.tokens) for row in ROWS))[None]
    engine.module.transformer.register_forward_pre_hook(
        lambda _, args, inputs: (args, inputs | {"position_ids": going_on}), with_kwargs=True
    )
    with pytest.raises(AssertionError):
        assert_same(engine.learn(packed(ROWS)), alone)


def test_gradients_are_the_same_when_activations_are_computed_again() -> None:
    again = Engine("llama", PACKED)
    again.module.train()
    again.module.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    assert_same(again.learn(packed(ROWS)), Engine("llama", PACKED).learn(packed(ROWS)))


@pytest.mark.skipif(find_spec("flash_attn") is not None, reason="the flash-attn package is here")
def test_an_attention_that_is_not_installed_ends_in_a_sentence(tiny_model: Path, tmp_path: Path) -> None:
    place = Folder.open(str(tmp_path))
    chosen = TrainSettings(attention="flash_attention_2", gradient_checkpointing=False)
    job = TrainingJob(chosen, tiny_model, up_to(0), 1, False, False, place, place, None)
    with pytest.raises(TrainingError, match=r"train\.attention=flash_attention_2 cannot be had here: .*FlashAttention2"):
        build_engine(job, "fp32")
