"""Attention that keeps rows apart which lie one behind the other.

The mask that transformers makes of position ids does the same, but attention then is computed, and masked, between all tokens
of a micro-batch; here each row attends within itself alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface

PACKED = "evolcoder_packed"
"""Its name, as ``attn_implementation``."""
LENGTHS = "packed_lengths"
"""As what a model's ``forward`` hands the lengths of the rows on to it."""


def packed_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    packed_lengths: list[int],
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each row, as transformers calls it: (1, heads, tokens, size) to (1, tokens, heads, size).

    Args:
        packed_lengths: tokens of each row; their sum is the number of tokens.
        sliding_window: how many tokens, itself among them, a token sees; None: all before it.
    """
    rows = zip(*(torch.split(tensor, packed_lengths, dim=2) for tensor in (query, key, value)), strict=True)
    attended = []
    for length, (queries, keys, values) in zip(packed_lengths, rows, strict=True):
        band = None
        if sliding_window is not None and length > sliding_window:
            band = torch.ones(length, length, dtype=torch.bool, device=query.device).tril().triu(1 - sliding_window)
        attended.append(
            functional.scaled_dot_product_attention(
                queries, keys, values, band, dropout, is_causal=band is None, scale=scaling,
                enable_gqa=query.shape[1] != key.shape[1],
            )
        )  # fmt: skip
    return torch.cat(attended, dim=2).transpose(1, 2).contiguous(), None


# Without a mask of its own transformers makes none for it, and hands on None.
AttentionInterface.register(PACKED, packed_attention)
