"""One optimizer step over one global batch, as DeepSpeed runs it. It knows nothing of Ray, files or schedules."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed
from torch.nn import functional

from evolcoder.train.encode import EncodedRow

IGNORED = -100
"""As cross-entropy's own default and every label of transformers has it."""


def collate(rows: Sequence[EncodedRow], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and labels of one micro-batch, both (rows, longest), padded on the right.

    Labels are the token ids where the loss counts (response and EOS) and ``IGNORED`` elsewhere.
    """
    width = max(len(row.tokens) for row in rows)
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    labels = torch.full((len(rows), width), IGNORED, dtype=torch.long)
    for place, row in enumerate(rows):
        tokens = torch.tensor(row.tokens, dtype=torch.long)
        ids[place, : len(tokens)] = tokens
        labels[place, row.prompt_tokens : len(tokens)] = tokens[row.prompt_tokens :]
    return ids, labels


def loss_tokens(rows: Sequence[EncodedRow]) -> int:
    """How many tokens the loss of these rows counts. The first token of a row has nothing before it to predict it from."""
    return sum(len(row.tokens) - max(row.prompt_tokens, 1) for row in rows)


def response_loss_sum(engine: Any, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy summed over the labelled tokens, in 32 bits.

    No attention mask is passed: padding is on the right, and a causal model's real tokens do not see what follows them.
    Logits are asked for from the first labelled position on only, when the model can do so: the prompt's are not used.
    """
    first = int((labels != IGNORED).any(dim=0).nonzero()[0, 0]) - 1
    options: dict[str, Any] = {}
    if "logits_to_keep" in inspect.signature(engine.module.forward).parameters:
        options["logits_to_keep"] = ids.shape[1] - first
        targets = labels[:, first + 1 :]
    else:
        targets = labels[:, 1:]
    logits = engine(input_ids=ids, use_cache=False, **options).logits[:, :-1]
    return functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]).float(), targets.reshape(-1), ignore_index=IGNORED, reduction="sum"
    )


def optimizer_step(
    engine: Any, micro_batches: Sequence[Sequence[EncodedRow]], batch_loss_tokens: int, learning_rate: float, pad_id: int
) -> tuple[float, float | None]:
    """Forward and backward over this worker's micro-batches, then one step of the optimizer on all workers.

    The loss of the step is the sum over all response tokens of the global batch, divided by their number: every token
    weighs the same, however rows are dealt to workers and micro-batches. DeepSpeed averages gradients over the workers,
    hence the factor; its own division by the number of micro-batches is turned off.

    Args:
        batch_loss_tokens: ``loss_tokens`` of the whole global batch, the same on every worker.

    Returns:
        The loss, and the norm of the gradients before clipping; None when the step was skipped.
    """
    workers = torch.distributed.get_world_size()
    scale = workers / batch_loss_tokens
    # In 64 bits, so that the reported loss does not depend on how the sum is divided among micro-batches.
    total = torch.zeros((), dtype=torch.float64, device=engine.device)
    for group in engine.optimizer.param_groups:
        group["lr"] = learning_rate
    norm = None
    for rows in micro_batches:
        ids, labels = (tensor.to(engine.device) for tensor in collate(rows, pad_id))
        loss_sum = response_loss_sum(engine, ids, labels)
        engine.backward(loss_sum * scale, scale_wrt_gas=False)
        if engine.is_gradient_accumulation_boundary() and isinstance(engine.optimizer, torch.optim.Optimizer):
            # In 32 bits without ZeRO, DeepSpeed leaves the gradients on the parameters and reports no norm itself. Only at
            # the boundary does step() apply the gradients, and clear them: their norm must be taken before it.
            gradients = [parameter.grad for parameter in engine.module.parameters() if parameter.grad is not None]
            norm = float(torch.nn.utils.get_total_norm(gradients))
        engine.step()
        total += loss_sum.detach()
    torch.distributed.all_reduce(total)
    norm = engine.get_global_grad_norm() if norm is None else norm
    return float(total) / batch_loss_tokens, float(norm) if norm is not None and math.isfinite(norm) else None
