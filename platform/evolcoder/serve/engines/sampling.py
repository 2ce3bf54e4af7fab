"""Sampling the next token of every row at once.

Legend: N rows, V vocabulary, K candidates.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from evolcoder.serve.engines.base import SamplingParams

CANDIDATES = 256
"""A nucleus nearly always lies within this many of the likeliest tokens. Only where it does not is the whole vocabulary sorted,
which takes many times as long as finding these."""


COLDEST = 1e-5
"""At a temperature below this the likeliest token is all but certain, and logits divided by it would overflow: greedy."""


@dataclass(slots=True)
class RowSampler:
    """One row's sampling parameters, its own random numbers, and how often it has sampled each token so far.

    A generator per row, not one per batch: a seeded answer must not depend on which other rows share its steps.
    """

    sampling: SamplingParams
    random: random.Random
    counts: Counter[int] = field(default_factory=Counter)


def sample_tokens(logits_nv: torch.Tensor, samplers: Sequence[RowSampler]) -> list[int]:
    """The next token of every row. Takes exactly one random number from each row that is not greedy.

    Float32, whatever the model computes in: in bfloat16 the sum over a vocabulary loses the small probabilities.
    """
    logits_nv = _penalised(logits_nv.float(), samplers)
    tokens: list[int] = logits_nv.argmax(-1).tolist()
    settings = [sampler.sampling for sampler in samplers]
    warm = [row for row, wanted in enumerate(settings) if wanted.temperature >= COLDEST and wanted.top_p > 0]
    if warm:
        for row, token in zip(warm, _sample(logits_nv[warm], [samplers[row] for row in warm]), strict=True):
            tokens[row] = token
    for sampler, token in zip(samplers, tokens, strict=True):
        sampler.counts[token] += 1
    return tokens


def top_logprobs(
    logits_nv: torch.Tensor, rows: Sequence[int], tokens: Sequence[int], count: int
) -> list[list[tuple[int, float]]]:
    """For each of ``rows`` the log probability of its token, then of its ``count`` likeliest tokens."""
    logprobs = torch.log_softmax(logits_nv[list(rows)].float(), -1)
    chosen = logprobs.gather(1, torch.tensor(list(tokens), device=logprobs.device)[:, None])[:, 0].tolist()
    best = logprobs.topk(min(count, logprobs.shape[1]))
    likeliest = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [[own, *zip(*pairs, strict=True)] for own, pairs in zip(zip(tokens, chosen, strict=True), likeliest, strict=True)]


def _penalised(logits_nv: torch.Tensor, samplers: Sequence[RowSampler]) -> torch.Tensor:
    """OpenAI's penalties: a token sampled c > 0 times loses c x frequency_penalty + presence_penalty."""
    penalised = logits_nv
    for row, sampler in enumerate(samplers):
        presence, frequency = sampler.sampling.presence_penalty, sampler.sampling.frequency_penalty
        if not (presence or frequency) or not sampler.counts:
            continue
        if penalised is logits_nv:  # copied once: log probabilities are still read from the model's own numbers
            penalised = logits_nv.clone()
        tokens = torch.tensor(list(sampler.counts), device=logits_nv.device)
        counts = torch.tensor(list(sampler.counts.values()), device=logits_nv.device)
        penalised[row, tokens] -= counts * frequency + presence
    return penalised


def _sample(logits_nv: torch.Tensor, samplers: Sequence[RowSampler]) -> list[int]:
    device = logits_nv.device
    temperature = torch.tensor([d.sampling.temperature for d in samplers], device=device)[:, None]
    top_p = torch.tensor([d.sampling.top_p for d in samplers], device=device)[:, None]
    uniform = torch.tensor([d.random.random() for d in samplers], device=device)[:, None]
    probabilities_nv = torch.softmax(logits_nv / temperature, -1)
    values_nk, indices_nk = probabilities_nv.topk(min(CANDIDATES, probabilities_nv.shape[1]))
    tokens = _sample_nucleus(values_nk, indices_nk, top_p, uniform)
    outside = [row for row, short in enumerate((values_nk.sum(-1, keepdim=True) < top_p)[:, 0].tolist()) if short]
    if outside:
        values, indices = probabilities_nv[outside].sort(-1, descending=True)
        for row, token in zip(outside, _sample_nucleus(values, indices, top_p[outside], uniform[outside]), strict=True):
            tokens[row] = token
    return tokens


def _sample_nucleus(values_nk: torch.Tensor, indices_nk: torch.Tensor, top_p: torch.Tensor, uniform: torch.Tensor) -> list[int]:
    """Sample from the fewest likeliest tokens whose probabilities add up to ``top_p``; values are in descending order.

    By inverting the cumulative distribution at ``uniform``, one number in [0, 1) per row.
    """
    before_nk = values_nk.cumsum(-1) - values_nk
    # The likeliest token always: a ``top_p`` that float32 rounds to 0 would keep none.
    kept_nk = values_nk * (before_nk < top_p.clamp(min=torch.finfo(top_p.dtype).tiny))
    cumulative_nk = kept_nk.cumsum(-1)
    chosen = torch.searchsorted(cumulative_nk, uniform * cumulative_nk[:, -1:], right=True)
    # Rounding may put ``uniform`` times the sum at or above the last cumulative value, beyond the nucleus.
    last = (kept_nk > 0).sum(-1, keepdim=True) - 1
    return indices_nk.gather(1, torch.minimum(chosen, last))[:, 0].tolist()
