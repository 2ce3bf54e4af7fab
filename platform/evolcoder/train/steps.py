"""One optimizer step over one global batch, as DeepSpeed runs it. It knows nothing of Ray, files or schedules."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed

from evolcoder.train.attention import ROWS, PackedRows
from evolcoder.train.encode import EncodedRow
from evolcoder.train.loss import IGNORED, summed_cross_entropy


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Token ids and labels, both (rows, width); labels are the token ids where the loss counts and ``IGNORED`` elsewhere.

    ``lengths`` are those of the instruction rows that lie one behind the other in the one row of a packed batch; None: each
    has a row of its own. ``names`` are the rows' ids.
    """

    ids: torch.Tensor
    labels: torch.Tensor
    lengths: list[int] | None = None
    names: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class StepResult:
    """``grad_norm`` is that of the gradients before clipping; None when the step was skipped. ``computed_tokens`` are those of
    all workers' micro-batches, padding among them. ``diverged``: where the loss is not finite, the names of the rows in the
    micro-batches, of any worker, of which it is not.
    """

    loss: float
    grad_norm: float | None
    computed_tokens: int
    diverged: Sequence[str] = ()


def padded(rows: Sequence[EncodedRow], pad_id: int) -> MicroBatch:
    """One below the other, padded on the right."""
    width = max(len(row.tokens) for row in rows)
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    labels = torch.full((len(rows), width), IGNORED, dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row.tokens)] = torch.tensor(row.tokens, dtype=torch.long)
        labels[place, : len(row.tokens)] = _labels(row)
    return MicroBatch(ids, labels, names=[row.id for row in rows])


def packed(rows: Sequence[EncodedRow]) -> MicroBatch:
    """One behind the other."""
    ids = torch.tensor([token for row in rows for token in row.tokens], dtype=torch.long)
    labels = torch.cat([_labels(row) for row in rows])
    return MicroBatch(ids[None], labels[None], [len(row.tokens) for row in rows], [row.id for row in rows])


def _labels(row: EncodedRow) -> torch.Tensor:
    """The first token of a row has nothing before it to predict it from, and in a packed batch another row's end."""
    labels = torch.tensor(row.tokens, dtype=torch.long)
    labels[: max(row.prompt_tokens, 1)] = IGNORED
    return labels


def loss_tokens(rows: Sequence[EncodedRow]) -> int:
    """How many tokens the loss of these rows counts."""
    return sum(len(row.tokens) - max(row.prompt_tokens, 1) for row in rows)


def response_loss_sum(engine: Any, batch: MicroBatch) -> torch.Tensor:
    """Cross-entropy summed over the labelled tokens, in 32 bits.

    No attention mask is passed: padding is on the right, and a causal model's real tokens do not see what follows them; rows
    that are packed are kept apart by their positions and lengths. Logits are asked for only where a label is next, when the
    model can do so: the prompt's are not used.
    """
    ids, labels = batch.ids.to(engine.device), batch.labels.to(engine.device)
    options: dict[str, Any] = {}
    if batch.lengths is not None:
        options["position_ids"] = torch.cat([torch.arange(length, device=ids.device) for length in batch.lengths])[None]
        options[ROWS] = PackedRows.of(batch.lengths, ids.device)
    # Of the labels on the host: asking a GPU how many there are would wait for all that it was given to do.
    before = ((batch.labels != IGNORED).any(dim=0).nonzero()[:, 0] - 1).to(engine.device)
    model = engine.module.get_base_model() if hasattr(engine.module, "get_base_model") else engine.module  # of an adapter
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        options["logits_to_keep"] = before
        logits = engine(input_ids=ids, use_cache=False, **options).logits
    else:
        logits = engine(input_ids=ids, use_cache=False, **options).logits[:, before]
    return summed_cross_entropy(logits.flatten(0, 1), labels[:, before + 1].flatten())


def optimizer_step(
    engine: Any, micro_batches: Sequence[MicroBatch], batch_loss_tokens: int, learning_rate: float
) -> StepResult:
    """Forward and backward over this worker's micro-batches, then one step of the optimizer on all workers.

    The loss of the step is the sum over all response tokens of the global batch, divided by their number: every token
    weighs the same, however rows are dealt to workers and micro-batches. DeepSpeed averages gradients over the workers,
    hence the factor; its own division by the number of micro-batches is turned off.

    Args:
        micro_batches: on every worker as many.
        batch_loss_tokens: ``loss_tokens`` of the whole global batch, the same on every worker.
    """
    workers = torch.distributed.get_world_size()
    scale = workers / batch_loss_tokens
    # In 64 bits, so that the reported loss does not depend on how the sum is divided among micro-batches.
    totals = torch.zeros(2, dtype=torch.float64, device=engine.device)
    for group in engine.optimizer.param_groups:
        group["lr"] = learning_rate
    norm, losses = None, []
    for number, batch in enumerate(micro_batches):
        # Packed, a step has as many micro-batches as its rows need, which DeepSpeed cannot count by itself.
        last = number == len(micro_batches) - 1
        engine.set_gradient_accumulation_boundary(last)
        loss_sum = response_loss_sum(engine, batch)
        engine.backward(loss_sum * scale, scale_wrt_gas=False)
        if last and isinstance(engine.optimizer, torch.optim.Optimizer):
            # In 32 bits without ZeRO, DeepSpeed leaves the gradients on the parameters and reports no norm itself. Only at
            # the boundary does step() apply the gradients, and clear them: their norm must be taken before it.
            gradients = [parameter.grad for parameter in engine.module.parameters() if parameter.grad is not None]
            norm = float(torch.nn.utils.get_total_norm(gradients))
        engine.step()
        losses.append(loss_sum.detach())
        totals[0] += losses[-1]
        totals[1] += batch.ids.numel()
    torch.distributed.all_reduce(totals)
    norm = engine.get_global_grad_norm() if norm is None else norm
    finite = float(norm) if norm is not None and math.isfinite(norm) else None
    loss, diverged = float(totals[0]) / batch_loss_tokens, []
    if not math.isfinite(loss):
        own = [name for batch, part in zip(micro_batches, losses, strict=True) if not part.isfinite() for name in batch.names]
        everyone: list[list[str]] = [[]] * workers
        torch.distributed.all_gather_object(everyone, own)
        diverged = [name for names in everyone for name in names]
    return StepResult(loss, finite, int(totals[1]), diverged)
