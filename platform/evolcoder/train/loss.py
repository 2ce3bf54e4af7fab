"""Cross-entropy of few of a model's logits at a time, so that no 32-bit copy of all of them is ever made."""

from __future__ import annotations

from typing import Any

import torch

from evolcoder.train.memory import CHUNK_LOGITS

IGNORED = -100
"""As every label of transformers has it."""


def summed_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The cross-entropy of ``logits`` (tokens, vocabulary) with ``targets`` (tokens), in 32 bits: its sum over all tokens whose
    target is not ``IGNORED``.

    With 16-bit logits, torch's own keeps two 32-bit copies of all of them for the backward pass, and makes a third there: for a
    vocabulary of 50,000 that is far more than the activations of a small model. Here one number a token is kept, and the
    gradient takes the place of the logits, which nobody may use afterwards.
    """
    loss: torch.Tensor = _SummedCrossEntropy.apply(logits, targets)  # type: ignore[no-untyped-call]
    return loss


class _SummedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        rows = max(1, CHUNK_LOGITS // logits.shape[-1])
        losses, normalizers = [], []
        for part, wanted in zip(torch.split(logits, rows), torch.split(targets, rows), strict=True):
            scores = part.float()
            normalizer = scores.logsumexp(-1)
            target_scores = scores.gather(-1, wanted.clamp(min=0)[:, None])[:, 0]
            losses.append(torch.where(wanted == IGNORED, 0.0, normalizer - target_scores).sum())
            normalizers.append(normalizer)
        ctx.save_for_backward(logits, targets, torch.cat(normalizers))
        ctx.rows = rows
        return torch.stack(losses).sum()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The gradient of a token's loss is its softmax, less 1 at the target."""
        logits, targets, normalizers = ctx.saved_tensors
        (scale,) = gradients
        parts = (torch.split(tensor, ctx.rows) for tensor in (logits, targets, normalizers))
        for part, wanted, normalizer in zip(*parts, strict=True):
            softmax = (part.float() - normalizer[:, None]).exp_()
            softmax.scatter_add_(-1, wanted.clamp(min=0)[:, None], torch.full_like(normalizer, -1.0)[:, None])
            part.copy_(softmax.mul_(torch.where(wanted == IGNORED, 0.0, scale)[:, None]))
        return logits, None
