"""Three ways to decode the rows of a running batch. ``choosing.py`` finds out which one suits a model.

``slots``: every row at its own position in one cache, the fastest; for decoder-only models that take a position per row.
``left-padded``: all rows end in the same column; for models that place tokens by their distance (T5, ALiBi), or whose own masks
compare columns (sliding windows). Padding on the right would put a gap between a shorter row's last token and its next one.
``sequential``: one row after the other, each with the cache that the model itself makes; slow, and right for all others.

All three have ``join`` (prefill: read prompts into new rows, numbered last; returns the next token's logits, one row per
prompt), ``step`` (append a token to each row; returns logits likewise), ``drop`` (remove rows; returns the old number of each
remaining row, in the new order) and ``clear`` (forget all rows). ``token_bytes`` is what one token of one row takes in the
cache; known once a row has joined. To be used by one thread.

The layers of transformers' caches are read and written here (``layers``, ``keys``, ``values``), as they are in 5.23.0.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, EncoderDecoderCache

from evolcoder.serve.engines.cache import SlotCache
from evolcoder.serve.engines.loading import LoadedModel


class SlotDecoder:
    """See the module."""

    name = "slots"

    def __init__(self, loaded: LoadedModel) -> None:
        self._model, self._device, self._dtype = loaded.model, loaded.device, loaded.dtype
        self._last = LastPositions(loaded.model)
        self._cache = SlotCache()
        self.drop, self.clear = self._cache.drop, self._cache.clear
        self.token_bytes = 0

    def join(self, prompts: list[list[int]]) -> torch.Tensor:
        """Prompts are right-padded and need no mask: under causal attention no token sees the padding after it."""
        lengths = [len(prompt) for prompt in prompts]
        padded = pad_sequence([torch.tensor(prompt) for prompt in prompts], batch_first=True).to(self._device)
        positions = torch.arange(padded.shape[1], device=self._device).expand(padded.shape)
        cache = DynamicCache()
        self._last.places = torch.tensor(lengths, device=self._device) - 1
        try:
            output = self._model(input_ids=padded, position_ids=positions, past_key_values=cache, use_cache=True)
        finally:
            self._last.places = None  # also after a failure: the next step's rows have one position each
        self.token_bytes = _token_bytes(cache)
        self._cache.join(cache, lengths)
        return output.logits[:, -1]  # type: ignore[no-any-return]

    def step(self, tokens: list[int]) -> torch.Tensor:
        positions, mask = self._cache.begin_step(self._device, self._dtype)
        output = self._model(
            input_ids=_column(tokens, self._device),
            attention_mask=mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        return output.logits[:, -1]  # type: ignore[no-any-return]


class LeftPaddedDecoder:
    """See the module. The cache grows by one column per step; when a row leaves, columns that no row needs are cut off.

    ``_answers`` holds what is read and said; of an encoder-decoder, what is said, and ``_prompts`` its cross-attention.
    """

    name = "left-padded"

    def __init__(self, loaded: LoadedModel) -> None:
        LastPositions(loaded.model)
        self._loaded = loaded
        self._takes_positions = "position_ids" in inspect.signature(loaded.model.forward).parameters
        self.token_bytes = 0
        self._answers, self._prompts = DynamicCache(), DynamicCache()
        self._answer_lengths: list[int] = []
        self._prompt_lengths: list[int] = []

    def join(self, prompts: list[list[int]]) -> torch.Tensor:
        logits = []
        for prompt in prompts:
            # One prompt at a time: in a batch of prompts the model would count padding as distance. And not into the cache that
            # a model makes itself: with a sliding window that one drops old columns, so rows would no longer line up.
            answer, cross = DynamicCache(), DynamicCache()
            both = EncoderDecoderCache(answer, cross)
            output = read_prompt(self._loaded, prompt, past_key_values=both if self._loaded.decoder_start else answer)
            self.token_bytes = _token_bytes(both)
            _append(self._answers, answer, left=True)
            self._answer_lengths.append(len(self._loaded.decoder_start) or len(prompt))
            if self._loaded.decoder_start:
                _append(self._prompts, cross, left=False)
                self._prompt_lengths.append(len(prompt))
            logits.append(output.logits[:, -1])
        return torch.cat(logits)

    def step(self, tokens: list[int]) -> torch.Tensor:
        loaded = self._loaded
        positions = _column(self._answer_lengths, loaded.device)
        self._answer_lengths = [length + 1 for length in self._answer_lengths]
        ids, mask = _column(tokens, loaded.device), self._mask(self._answer_lengths, left=True)
        if not loaded.decoder_start:
            places = {"position_ids": positions} if self._takes_positions else {}
            output = loaded.model(input_ids=ids, attention_mask=mask, past_key_values=self._answers, use_cache=True, **places)
            return output.logits[:, -1]  # type: ignore[no-any-return]
        # The cross-attention cache holds all that decoding needs of the encoder; its output is read for its shape only: one
        # zero, expanded, is a tensor of that shape without its memory.
        encoder_mask = self._mask(self._prompt_lengths, left=False)
        zero = torch.zeros(1, dtype=loaded.dtype, device=loaded.device)
        output = loaded.model(
            encoder_outputs=(zero.expand(*encoder_mask.shape, loaded.model.config.hidden_size),),
            attention_mask=encoder_mask,
            decoder_input_ids=ids,
            decoder_attention_mask=mask,
            past_key_values=EncoderDecoderCache(self._answers, self._prompts),
            use_cache=True,
        )
        return output.logits[:, -1]  # type: ignore[no-any-return]

    def drop(self, gone: set[int]) -> list[int]:
        kept = [row for row in range(len(self._answer_lengths)) if row not in gone]
        if not kept:
            self.clear()
            return kept
        self._answer_lengths = [self._answer_lengths[row] for row in kept]
        # Compacted now and only now: indexing by rows copies the cache anyway, and once the longest row has left, its columns
        # would cost every later step time and memory.
        index = torch.tensor(kept, device=self._loaded.device)
        for layer in self._answers.layers:
            spare = layer.keys.shape[2] - max(self._answer_lengths)
            layer.keys, layer.values = layer.keys[index, :, spare:], layer.values[index, :, spare:]
        if self._loaded.decoder_start:
            self._prompt_lengths = [self._prompt_lengths[row] for row in kept]
            longest = max(self._prompt_lengths)
            for layer in self._prompts.layers:
                layer.keys, layer.values = layer.keys[index, :, :longest], layer.values[index, :, :longest]
        return kept

    def clear(self) -> None:
        self._answers, self._prompts = DynamicCache(), DynamicCache()
        self._answer_lengths, self._prompt_lengths = [], []

    def _mask(self, lengths: Sequence[int], left: bool) -> torch.Tensor:
        columns = torch.arange(max(lengths), device=self._loaded.device)[None]
        numbers = _column(lengths, self._loaded.device)
        return (columns >= columns.shape[1] - numbers if left else columns < numbers).long()


class SequentialDecoder:
    """See the module. Each row keeps what its model needs again with the next token, by the names of its arguments."""

    name = "sequential"

    def __init__(self, loaded: LoadedModel) -> None:
        LastPositions(loaded.model)
        self._loaded = loaded
        self._rows: list[dict[str, Any]] = []
        self.token_bytes = 0

    def join(self, prompts: list[list[int]]) -> torch.Tensor:
        logits = []
        for prompt in prompts:
            output = read_prompt(self._loaded, prompt)
            name = "past_key_values" if getattr(output, "cache_params", None) is None else "cache_params"  # Mamba's
            row = {name: getattr(output, name)}
            if self._loaded.decoder_start:
                row["encoder_outputs"] = (output.encoder_last_hidden_state,)
            self._rows.append(row)
            self.token_bytes = _token_bytes(row.get("past_key_values"))
            logits.append(output.logits[:, -1])
        return torch.cat(logits)

    def step(self, tokens: list[int]) -> torch.Tensor:
        ids = "decoder_input_ids" if self._loaded.decoder_start else "input_ids"
        logits = []
        for row, token in zip(self._rows, tokens, strict=True):
            output = self._loaded.model(**{ids: _column([token], self._loaded.device)}, **row, use_cache=True)
            logits.append(output.logits[:, -1])
        return torch.cat(logits)

    def drop(self, gone: set[int]) -> list[int]:
        kept = [row for row in range(len(self._rows)) if row not in gone]
        self._rows = [self._rows[row] for row in kept]
        return kept

    def clear(self) -> None:
        self._rows = []


Decoder = SlotDecoder | LeftPaddedDecoder | SequentialDecoder


class LastPositions:
    """A hook on a model's output layer that passes on each row's last position only.

    The logits of the other positions would take much of a prefill's memory and, in a small model, of its time. Not every
    model takes ``logits_to_keep``, and that argument knows no right padding. ``places`` says where the last position is in
    right-padded rows; None: in the last column.
    """

    def __init__(self, model: Any) -> None:
        self.places: torch.Tensor | None = None
        model.get_output_embeddings().register_forward_pre_hook(self._keep)

    def _keep(self, module: Any, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden, *rest = arguments
        if self.places is None:
            return (hidden[:, -1:], *rest)
        rows = torch.arange(hidden.shape[0], device=hidden.device)
        return (hidden[rows, self.places][:, None], *rest)


def read_prompt(loaded: LoadedModel, prompt: list[int], answer: Sequence[int] = (), **options: Any) -> Any:
    """The model's output for one prompt and the beginning of an answer, called in the plainest way."""
    if loaded.decoder_start:
        ids = {"input_ids": [prompt], "decoder_input_ids": [[*loaded.decoder_start, *answer]]}
    else:
        ids = {"input_ids": [[*prompt, *answer]]}
    tensors = {name: torch.tensor(rows, device=loaded.device) for name, rows in ids.items()}
    return loaded.model(**tensors, **{"use_cache": True, **options})


def _append(rows: DynamicCache, newcomer: DynamicCache, left: bool) -> None:
    """Append a row to a cache, both padded to the longer one's length.

    With zeros: masked values are multiplied by 0, and 0 x NaN would be NaN.
    """
    if not rows.layers:
        for number, layer in enumerate(newcomer.layers):
            rows.update(layer.keys, layer.values, number)
        return
    for row, new in zip(rows.layers, newcomer.layers, strict=True):
        more = new.keys.shape[2] - row.keys.shape[2]  # columns that the rows lack, or if negative the newcomer
        pads = [(0, 0, missing, 0) if left else (0, 0, 0, missing) for missing in (max(0, more), max(0, -more))]
        row.keys = torch.cat([functional.pad(row.keys, pads[0]), functional.pad(new.keys, pads[1])])
        row.values = torch.cat([functional.pad(row.values, pads[0]), functional.pad(new.values, pads[1])])


def _token_bytes(cache: Any) -> int:
    """The bytes of one token of one row, in all layers that keep keys and values."""
    if isinstance(cache, EncoderDecoderCache):
        return max(_token_bytes(cache.self_attention_cache), _token_bytes(cache.cross_attention_cache))
    kept = [getattr(layer, name, None) for layer in getattr(cache, "layers", ()) for name in ("keys", "values")]
    return sum(tensor[0, :, 0].numel() * tensor.element_size() for tensor in kept if isinstance(tensor, torch.Tensor))


def _column(numbers: Sequence[int], device: torch.device) -> torch.Tensor:
    return torch.tensor(numbers, device=device)[:, None]
