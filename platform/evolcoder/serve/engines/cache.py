"""A key-value cache whose rows come and go while the others go on.

Each running answer has a slot, and each slot its own length; a step writes every row's new keys at that row's own
position. So a newcomer is one copy, a row that ends is at most one copy, and nothing is padded or moved otherwise.
"""

from __future__ import annotations

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

LENGTH_STEP = 256


class SlotCache(Cache):  # type: ignore[misc]
    """Rows 0..n-1 are in use. For steps of one token a row only; prompts are read into a cache of their own first.

    Legend: N rows in use, H key-value heads, T the longest row, D head size.
    """

    def __init__(self, layers: int) -> None:
        super().__init__(layers=[_SlotLayer(self) for _ in range(layers)])
        self.lengths: list[int] = []
        self._rows_capacity = 0
        self._length_capacity = 0
        self._row_index = self._positions = torch.empty(0, dtype=torch.long)

    def __len__(self) -> int:
        return len(self.layers)

    def join(self, prompts: Cache, lengths: list[int]) -> None:
        """Add the rows of a cache that holds prompts padded on their right to one length."""
        first, count = len(self.lengths), len(lengths)
        if not self.lengths and self._length_capacity > 4 * max(LENGTH_STEP, max(lengths)):
            self.clear()
        self._reserve(first + count, max(lengths) + 1, prompts)
        width = max(lengths)
        for layer, prompt in zip(self.layers, prompts.layers, strict=True):
            layer.keys[first : first + count, :, :width] = prompt.keys[:, :, :width]
            layer.values[first : first + count, :, :width] = prompt.values[:, :, :width]
        self.lengths += lengths

    def begin_step(self, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Make room for one more token in every row.

        Returns:
            Position ids, N x 1, and an additive attention mask, N x 1 x 1 x T.
        """
        self._reserve(len(self.lengths), max(self.lengths) + 1, None)
        self._positions = torch.tensor(self.lengths, device=device)
        self._row_index = torch.arange(len(self.lengths), device=device)
        self.lengths = [length + 1 for length in self.lengths]
        ahead = torch.arange(max(self.lengths), device=device)[None] > self._positions[:, None]
        mask = torch.zeros(ahead.shape, dtype=dtype, device=device).masked_fill_(ahead, torch.finfo(dtype).min)
        return self._positions[:, None], mask[:, None, None]

    def write(self, layer: _SlotLayer, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values N x H x 1 x D of this step in; all of them, N x H x T x D, out."""
        layer.keys[self._row_index, :, self._positions] = keys[:, :, 0]
        layer.values[self._row_index, :, self._positions] = values[:, :, 0]
        rows, longest = len(self.lengths), max(self.lengths)
        return layer.keys[:rows, :, :longest], layer.values[:rows, :, :longest]

    def drop(self, gone: set[int]) -> list[int]:
        """Free the slots in ``gone``; returns which row each remaining slot now holds, by its old number."""
        order = list(range(len(self.lengths)))
        for row in sorted(gone, reverse=True):
            last = len(order) - 1
            if row != last:
                self._move(last, row)
                order[row] = order[last]
                self.lengths[row] = self.lengths[last]
            order.pop()
            self.lengths.pop()
        return order

    def clear(self) -> None:
        """Forget all rows and give their memory back."""
        self.lengths = []
        self._rows_capacity = self._length_capacity = 0
        for layer in self.layers:
            layer.keys = layer.values = None
            layer.is_initialized = False

    def _move(self, source: int, target: int) -> None:
        length = self.lengths[source]
        for layer in self.layers:
            layer.keys[target, :, :length] = layer.keys[source, :, :length]
            layer.values[target, :, :length] = layer.values[source, :, :length]

    def _reserve(self, rows: int, length: int, like: Cache | None) -> None:
        if rows <= self._rows_capacity and length <= self._length_capacity:
            return
        if rows > self._rows_capacity:
            self._rows_capacity = max(rows, 2 * self._rows_capacity)
        if length > self._length_capacity:
            wanted = max(length, self._length_capacity * 3 // 2)
            self._length_capacity = -(-wanted // LENGTH_STEP) * LENGTH_STEP
        for index, layer in enumerate(self.layers):
            pattern = like.layers[index] if like is not None else layer
            layer.keys = self._grown(layer.keys, pattern.keys)
            layer.values = self._grown(layer.values, pattern.values)
            layer.is_initialized = True

    def _grown(self, old: torch.Tensor | None, pattern: torch.Tensor) -> torch.Tensor:
        # Zeros, not whatever memory holds: a masked NaN is still a NaN.
        new = pattern.new_zeros((self._rows_capacity, pattern.shape[1], self._length_capacity, pattern.shape[3]))
        if old is not None:
            new[: old.shape[0], :, : old.shape[2]] = old
        return new


class _SlotLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's share of a ``SlotCache``, in the form that models expect."""

    is_sliding = False

    def __init__(self, cache: SlotCache) -> None:
        super().__init__()
        self._cache = cache

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        raise NotImplementedError("rows join a SlotCache with their prompts")

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self._cache.write(self, key_states, value_states)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length(), 0

    def get_seq_length(self) -> int:
        return max(self._cache.lengths, default=0)

    def get_max_length(self) -> int:
        return -1
