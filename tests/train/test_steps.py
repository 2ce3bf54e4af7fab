from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from evolcoder.train.encode import EncodedRow
from evolcoder.train.loss import IGNORED
from evolcoder.train.steps import loss_tokens, packed, padded, response_loss_sum


def test_rows_are_padded_on_the_right_and_only_the_response_is_labelled() -> None:
    batch = padded([EncodedRow([5, 6, 7, 8], 2), EncodedRow([5, 9], 1)], pad_id=0)
    assert batch.ids.tolist() == [[5, 6, 7, 8], [5, 9, 0, 0]]
    assert batch.labels.tolist() == [[IGNORED, IGNORED, 7, 8], [IGNORED, 9, IGNORED, IGNORED]]
    assert batch.lengths is None


def test_packed_rows_lie_one_behind_the_other_and_no_first_token_is_labelled() -> None:
    batch = packed([EncodedRow([5, 6, 7, 8], 2), EncodedRow([5, 9], 0)])
    assert batch.ids.tolist() == [[5, 6, 7, 8, 5, 9]]
    assert batch.labels.tolist() == [[IGNORED, IGNORED, 7, 8, IGNORED, 9]]
    assert batch.lengths == [4, 2]


def test_loss_tokens_are_the_labels_that_something_precedes() -> None:
    assert loss_tokens([EncodedRow([5, 6, 7, 8], 2), EncodedRow([5, 9], 1)]) == 3
    assert loss_tokens([EncodedRow([5, 6], 0)]) == 1


@pytest.mark.parametrize("forward_takes_logits_to_keep", [True, False])
def test_the_loss_is_that_of_each_row_alone_over_its_response(tiny_model: Path, forward_takes_logits_to_keep: bool) -> None:
    """Neither padding nor the leaving out of the prompt's logits changes it."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    rows = [EncodedRow(list(range(3, 40)), 20), EncodedRow(list(range(50, 65)), 4)]
    expected = 0.0
    for row in rows:
        logits = model(input_ids=torch.tensor([row.tokens])).logits[0].log_softmax(-1).detach()
        expected -= sum(float(logits[place - 1, row.tokens[place]]) for place in range(row.prompt_tokens, len(row.tokens)))
    engine: Any = _Engine(model, forward_takes_logits_to_keep)
    assert float(response_loss_sum(engine, padded(rows, pad_id=0))) == pytest.approx(expected, rel=1e-5)


class _Engine:
    """A model called as a DeepSpeed engine is."""

    device = torch.device("cpu")

    def __init__(self, model: Any, takes_logits_to_keep: bool) -> None:
        self._model = model
        plain = SimpleNamespace(forward=lambda input_ids, use_cache: None)
        self.module = model if takes_logits_to_keep else plain

    def __call__(self, **inputs: Any) -> Any:
        return self._model(**inputs)
