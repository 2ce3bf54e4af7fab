"""A key-value cache for continuous batching: rows join and leave while the others go on decoding.

Each running answer has a slot, and each slot its own length; a step writes every row's new keys and values at that row's own
position. So a row that joins costs one copy, a row that ends at most one, and otherwise nothing is padded or moved.

``_SlotLayer`` is what transformers sees. It overrides a cache layer as it was read in transformers 5.23.0.
"""

from __future__ import annotations

import torch
from transformers.cache_utils import Cache, DynamicLayer

LENGTH_STEP = 256
"""Capacity in tokens grows in such steps, so that the buffers are not copied each time the longest row grows by a token."""


class SlotCache(Cache):  # type: ignore[misc]
    """Rows 0..N-1 are in use, without gaps. Takes steps of one token per row; prompts are read into a cache of their own.

    Legend: N rows in use, H key-value heads, T the longest row, D head size. ``positions``: this step's position in each row.
    """

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.lengths: list[int] = []
        self.row_index = self.positions = torch.empty(0, dtype=torch.long)
        self._rows_capacity = self._length_capacity = 0

    def join(self, prompts: Cache, lengths: list[int]) -> None:
        """Add the rows of a cache that holds prompts, right-padded to one length.

        What padding wrote behind a prompt's end need not be cleared: the mask hides it until the row's own tokens replace it.
        """
        if not self.layers:
            self.layers.extend(_SlotLayer(self) for _ in prompts.layers)
        first, count, width = len(self.lengths), len(lengths), max(lengths)
        # Buffers grow and never shrink, so one long answer would make every later step's buffers long. An empty cache is
        # the moment to start anew: nothing has to be copied.
        if not self.lengths and self._length_capacity > 4 * max(LENGTH_STEP, width):
            self.clear()
        self._reserve(first + count, width + 1, prompts)
        for layer, prompt in zip(self.layers, prompts.layers, strict=True):
            layer.keys[first : first + count, :, :width] = prompt.keys[:, :, :width]
            layer.values[first : first + count, :, :width] = prompt.values[:, :, :width]
        self.lengths += lengths

    def begin_step(self, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Make room for one more token in every row.

        Returns:
            Position ids, N x 1, and an additive attention mask, N x 1 x 1 x T.
        """
        self._reserve(len(self.lengths), max(self.lengths) + 1, self)
        self.positions = torch.tensor(self.lengths, device=device)
        self.row_index = torch.arange(len(self.lengths), device=device)
        self.lengths = [length + 1 for length in self.lengths]
        # Row n may see columns 0..position n. The finite minimum, not -inf: a row of nothing but -inf has a NaN softmax.
        ahead = torch.arange(max(self.lengths), device=device)[None] > self.positions[:, None]
        mask = torch.zeros(ahead.shape, dtype=dtype, device=device).masked_fill_(ahead, torch.finfo(dtype).min)
        return self.positions[:, None], mask[:, None, None]

    def drop(self, gone: set[int]) -> list[int]:
        """Free the slots in ``gone``; returns, for each remaining slot, the old number of the row that it now holds.

        The last row moves into each freed slot, since rows in use must be the first ones (a step sees a slice). From the
        highest number down, so that the row that moves is never itself one of those to go.
        """
        order = list(range(len(self.lengths)))
        for row in sorted(gone, reverse=True):
            last, length = order.pop(), self.lengths.pop()
            if row == len(order):
                continue
            for layer in self.layers:
                layer.keys[row, :, :length] = layer.keys[len(order), :, :length]
                layer.values[row, :, :length] = layer.values[len(order), :, :length]
            order[row], self.lengths[row] = last, length
        return order

    def clear(self) -> None:
        """Forget all rows and release their memory."""
        self.lengths = []
        self._rows_capacity = self._length_capacity = 0
        self.reset()

    def _reserve(self, rows: int, length: int, like: Cache) -> None:
        """Grow the buffers; ``like`` gives heads, head size and number type.

        Rows double and lengths grow by half: a cache that grows a little at a time is copied a logarithmic number of times.
        """
        if rows <= self._rows_capacity and length <= self._length_capacity:
            return
        if rows > self._rows_capacity:
            self._rows_capacity = max(rows, 2 * self._rows_capacity)
        if length > self._length_capacity:
            wanted = max(length, self._length_capacity * 3 // 2)
            self._length_capacity = -(-wanted // LENGTH_STEP) * LENGTH_STEP
        for layer, pattern in zip(self.layers, like.layers, strict=True):
            for name in ("keys", "values"):
                old, heads, size = getattr(layer, name), getattr(pattern, name).shape[1], getattr(pattern, name).shape[3]
                # Zeros, not uninitialised memory: attention multiplies masked values by 0, and 0 x NaN is NaN.
                new = getattr(pattern, name).new_zeros((self._rows_capacity, heads, self._length_capacity, size))
                if old is not None:
                    new[: old.shape[0], :, : old.shape[2]] = old
                setattr(layer, name, new)
            layer.is_initialized = True


class _SlotLayer(DynamicLayer):  # type: ignore[misc]
    """One layer of a ``SlotCache``, in the form that transformers' models expect."""

    def __init__(self, cache: SlotCache) -> None:
        super().__init__()
        self._cache = cache

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store this step's keys and values, N x H x 1 x D; returns all of them, N x H x T x D, as views."""
        cache = self._cache
        self.keys[cache.row_index, :, cache.positions] = key_states[:, :, 0]
        self.values[cache.row_index, :, cache.positions] = value_states[:, :, 0]
        rows, longest = len(cache.lengths), max(cache.lengths)
        return self.keys[:rows, :, :longest], self.values[:rows, :, :longest]

    def get_seq_length(self) -> int:
        """What was in the cache before this step: ``begin_step`` has counted the step's own token already."""
        return max(self._cache.lengths, default=1) - 1
