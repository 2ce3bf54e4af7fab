"""Attention that keeps rows apart which lie one behind the other.

The mask that transformers makes of position ids does the same, but attention then is computed, and masked, between all tokens
of a micro-batch; here each row attends within itself alone.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface

PACKED = "evolcoder_packed"
"""Its name, as ``attn_implementation``."""
ROWS = "packed_rows"
"""As what a model's ``forward`` hands ``PackedRows`` on to it."""
_LARGEST_FLASH_HEAD = 256
# Before torch 2.12 it took fewer keys than queries without being told.
_FEWER_KEYS: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in inspect.signature(varlen_attn).parameters else {}


@dataclass(frozen=True, slots=True)
class PackedRows:
    """Rows that lie one behind the other: tokens of each, and where each starts and the last one ends (32 bits, rows + 1)."""

    lengths: list[int]
    starts: torch.Tensor

    @classmethod
    def of(cls, lengths: list[int], device: torch.device) -> PackedRows:
        return cls(lengths, torch.tensor([0, *lengths], device=device).cumsum(0, dtype=torch.int32))


def packed_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    packed_rows: PackedRows,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each row, as transformers calls it: (1, heads, tokens, size) to (1, tokens, heads, size).

    Args:
        sliding_window: how many tokens, itself among them, a token sees; None: all before it.
    """
    if _flash_can(query, dropout):
        # All rows in one kernel: one after the other, short ones would not fill a GPU.
        window = -1 if sliding_window is None else sliding_window - 1
        longest, starts = max(packed_rows.lengths), packed_rows.starts
        queries, keys, values = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
        found = varlen_attn(
            queries, keys, values, starts, starts, longest, longest, scale=scaling, window_size=(window, 0), **_FEWER_KEYS
        )
        assert isinstance(found, torch.Tensor)  # it returns a pair only when asked for more
        return found[None], None
    rows = zip(*(torch.split(tensor, packed_rows.lengths, dim=2) for tensor in (query, key, value)), strict=True)
    attended = []
    for length, (queries, keys, values) in zip(packed_rows.lengths, rows, strict=True):
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


def _flash_can(query: torch.Tensor, dropout: float) -> bool:
    """Whether FlashAttention for rows of different lengths computes this; torch's has no dropout."""
    return (
        query.is_cuda
        and query.dtype in (torch.float16, torch.bfloat16)
        and query.shape[-1] <= _LARGEST_FLASH_HEAD
        and query.shape[-1] % 8 == 0
        and dropout == 0
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
    )


# Without a mask of its own transformers makes none for it, and hands on None.
AttentionInterface.register(PACKED, packed_attention)
