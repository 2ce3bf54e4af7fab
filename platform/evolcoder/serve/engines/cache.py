"""A key-value cache for continuous batching: rows join and leave while the others go on decoding.

Each running answer has a slot, and each slot its own length; a step writes every row's new keys and values at that row's own
position. So a row that joins costs one copy, a row that ends at most one, and otherwise nothing is padded or moved.

``_SlotLayer`` is what transformers sees. It implements the interface of a cache layer as it was read in transformers 5.23.0.
"""

from __future__ import annotations

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

LENGTH_STEP = 256
"""Capacity in tokens grows in such steps, so that the buffers are not copied each time the longest row grows by a token."""


class SlotCache(Cache):  # type: ignore[misc]
    """Rows 0..N-1 are in use, without gaps. Takes steps of one token per row; prompts are read into a cache of their own.

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
        """Add the rows of a cache that holds prompts, right-padded to one length.

        What padding wrote behind a prompt's end need not be cleared: the mask hides it until the row's own tokens replace it.
        """
        first, count = len(self.lengths), len(lengths)
        # Buffers grow and never shrink, so one long answer would make every later step's buffers long. An empty cache is
        # the moment to start anew: nothing has to be copied.
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
        # Row n may see columns 0..position n. The finite minimum, not -inf: a row of nothing but -inf has a NaN softmax.
        ahead = torch.arange(max(self.lengths), device=device)[None] > self._positions[:, None]
        mask = torch.zeros(ahead.shape, dtype=dtype, device=device).masked_fill_(ahead, torch.finfo(dtype).min)
        return self._positions[:, None], mask[:, None, None]

    def write(self, layer: _SlotLayer, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Store this step's keys and values, N x H x 1 x D; returns all of them, N x H x T x D, as views."""
        layer.keys[self._row_index, :, self._positions] = keys[:, :, 0]
        layer.values[self._row_index, :, self._positions] = values[:, :, 0]
        rows, longest = len(self.lengths), max(self.lengths)
        return layer.keys[:rows, :, :longest], layer.values[:rows, :, :longest]

    def drop(self, gone: set[int]) -> list[int]:
        """Free the slots in ``gone``; returns, for each remaining slot, the old number of the row that it now holds.

        The last row moves into each freed slot, since rows in use must be the first ones (``write`` returns a slice). From
        the highest number down, so that the row that moves is never itself one of those to go.
        """
        order = list(range(len(self.lengths)))
        for row in sorted(gone, reverse=True):
            last = len(order) - 1
            if row != last:
                length = self.lengths[last]
                for layer in self.layers:
                    layer.keys[row, :, :length] = layer.keys[last, :, :length]
                    layer.values[row, :, :length] = layer.values[last, :, :length]
                order[row] = order[last]
                self.lengths[row] = self.lengths[last]
            order.pop()
            self.lengths.pop()
        return order

    def clear(self) -> None:
        """Forget all rows and release their memory."""
        self.lengths = []
        self._rows_capacity = self._length_capacity = 0
        for layer in self.layers:
            layer.keys = layer.values = None
            layer.is_initialized = False

    def _reserve(self, rows: int, length: int, like: Cache | None) -> None:
        """Grow the buffers; ``like`` gives heads, head size and number type while there are none yet.

        Rows double and lengths grow by half: a cache that grows a little at a time is copied a logarithmic number of times.
        """
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
        # Zeros, not uninitialised memory: attention multiplies masked values by 0, and 0 x NaN is NaN.
        new = pattern.new_zeros((self._rows_capacity, pattern.shape[1], self._length_capacity, pattern.shape[3]))
        if old is not None:
            new[: old.shape[0], :, : old.shape[2]] = old
        return new


class _SlotLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer of a ``SlotCache``, in the form that transformers' models expect."""

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
