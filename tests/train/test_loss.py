from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from evolcoder.train import loss
from evolcoder.train.loss import IGNORED, summed_cross_entropy


@pytest.mark.parametrize("chunk", [1, 60, 1 << 24])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_and_gradient_are_those_of_torch(chunk: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "CHUNK_LOGITS", chunk)
    generator = torch.Generator().manual_seed(0)
    weight = (3 * torch.randn(7, 29, generator=generator)).to(dtype).requires_grad_()
    targets = torch.tensor([3, IGNORED, 0, 28, 5, IGNORED, 5])
    reference = functional.cross_entropy(weight.float(), targets, ignore_index=IGNORED, reduction="sum")
    (wanted,) = torch.autograd.grad(2 * reference, weight)
    found = summed_cross_entropy(weight * 1, targets)
    torch.testing.assert_close(found, reference)
    (gradient,) = torch.autograd.grad(2 * found, weight)
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient, wanted)


def test_a_batch_without_any_label_has_no_loss() -> None:
    logits = torch.randn(3, 5, requires_grad=True)
    found = summed_cross_entropy(logits * 1, torch.full((3,), IGNORED))
    found.backward()
    assert float(found.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_no_32_bit_copy_of_all_logits_is_kept() -> None:
    """What the backward pass needs beside the 16-bit logits is one number a token."""
    kept = []
    logits = torch.randn(64, 512).to(torch.bfloat16).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        summed_cross_entropy(logits * 1, torch.zeros(64, dtype=torch.long))
    assert sum(tensor.nbytes for tensor in kept if tensor.dtype == torch.float32) <= 64 * 4
