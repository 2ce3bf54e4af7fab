"""Three ways to decode the rows of a running batch. ``choosing.py`` finds out which one suits a model.

``slots``: every row at its own position in one cache, the fastest; for decoder-only models that take a position per row.
``left-padded``: all rows end in the same column; for models that place tokens by their distance (T5, ALiBi), or whose own masks
compare columns (sliding windows). Padding on the right would put a gap between a shorter row's last token and its next one.
``sequential``: one row after the other, each with the cache that the model itself makes; slow, and right for all others.

The layers of transformers' caches are read and written here (``layers``, ``keys``, ``values``), as they are in 5.23.0.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch.nn import functional
from transformers import DynamicCache, EncoderDecoderCache

from evolcoder.serve.engines.cache import SlotCache
from evolcoder.serve.engines.loading import LoadedModel


class Decoder(Protocol):
    """A model and the keys and values of its running rows, numbered from 0. To be used by one thread.

    ``token_bytes`` is what one token of one row takes in the cache; known once a row has joined.
    """

    name: str
    token_bytes: int

    def join(self, prompts: list[list[int]]) -> torch.Tensor:
        """Prefill: read prompts into new rows, numbered last; returns the next token's logits, one row per prompt."""
        ...

    def step(self, tokens: list[int]) -> torch.Tensor:
        """Append a token to each row; returns the next token's logits, one row each."""
        ...

    def drop(self, gone: set[int]) -> list[int]:
        """Remove rows; returns the old number of each remaining row, in the new order."""
        ...

    def clear(self) -> None:
        """Forget all rows."""
        ...


class SlotDecoder:
    """See the module."""

    name = "slots"

    def __init__(self, loaded: LoadedModel) -> None:
        self._model, self._device, self._dtype = loaded.model, loaded.device, loaded.dtype
        self._last = keep_last_logits(loaded.model)
        self._cache = SlotCache(0)
        self.token_bytes = 0

    def join(self, prompts: list[list[int]]) -> torch.Tensor:
        """Prompts are right-padded and need no mask: under causal attention no token sees the padding after it."""
        lengths = [len(prompt) for prompt in prompts]
        padded = torch.zeros((len(prompts), max(lengths)), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            padded[row, : len(prompt)] = torch.tensor(prompt)
        padded = padded.to(self._device)
        positions = torch.arange(padded.shape[1], device=self._device).expand(padded.shape)
        cache = DynamicCache()
        self._last.places = torch.tensor(lengths, device=self._device) - 1
        try:
            output = self._model(input_ids=padded, position_ids=positions, past_key_values=cache, use_cache=True)
        finally:
            self._last.places = None  # also after a failure: the next step's rows have one position each
        if len(self._cache) != len(cache.layers):
            self._cache = SlotCache(len(cache.layers))
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

    def drop(self, gone: set[int]) -> list[int]:
        return self._cache.drop(gone)

    def clear(self) -> None:
        self._cache.clear()


class SequentialDecoder:
    """See the module."""

    name = "sequential"

    def __init__(self, loaded: LoadedModel) -> None:
        keep_last_logits(loaded.model)
        self._loaded = loaded
        self._rows: list[dict[str, Any]] = []
        self.token_bytes = 0

    def join(self, prompts: list[list[int]]) -> torch.Tensor:
        logits = []
        for prompt in prompts:
            output = read_prompt(self._loaded, prompt)
            self._rows.append(_state(output))
            self.token_bytes = _token_bytes(self._rows[-1].get("past_key_values"))
            logits.append(output.logits[:, -1])
        return torch.cat(logits)

    def step(self, tokens: list[int]) -> torch.Tensor:
        ids = "decoder_input_ids" if self._loaded.decoder_start else "input_ids"
        logits = []
        for state, token in zip(self._rows, tokens, strict=True):
            output = self._loaded.model(**{ids: _column([token], self._loaded.device)}, **state, use_cache=True)
            logits.append(output.logits[:, -1])
        return torch.cat(logits)

    def drop(self, gone: set[int]) -> list[int]:
        kept = [row for row in range(len(self._rows)) if row not in gone]
        self._rows = [self._rows[row] for row in kept]
        return kept

    def clear(self) -> None:
        self._rows = []


class LeftPaddedDecoder:
    """See the module. The cache grows by one column per step; when a row leaves, columns that no row needs are cut off."""

    name = "left-padded"

    def __init__(self, loaded: LoadedModel) -> None:
        keep_last_logits(loaded.model)
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
            cache = EncoderDecoderCache(DynamicCache(), DynamicCache()) if self._loaded.decoder_start else DynamicCache()
            output = read_prompt(self._loaded, prompt, past_key_values=cache)
            self.token_bytes = _token_bytes(cache)
            if self._loaded.decoder_start:
                self._join_one(self._answers, cache.self_attention_cache, self._answer_lengths, left=True)
                self._join_one(self._prompts, cache.cross_attention_cache, self._prompt_lengths, left=False)
                self._answer_lengths.append(len(self._loaded.decoder_start))
                self._prompt_lengths.append(len(prompt))
            else:
                self._join_one(self._answers, cache, self._answer_lengths, left=True)
                self._answer_lengths.append(len(prompt))
            logits.append(output.logits[:, -1])
        return torch.cat(logits)

    def step(self, tokens: list[int]) -> torch.Tensor:
        positions = _column(self._answer_lengths, self._loaded.device)
        self._answer_lengths = [length + 1 for length in self._answer_lengths]
        ids = _column(tokens, self._loaded.device)
        mask = self._mask(self._answer_lengths, left=True)
        if self._loaded.decoder_start:
            output = self._step_with_encoder(ids, mask)
        else:
            places = {"position_ids": positions} if self._takes_positions else {}
            output = self._loaded.model(
                input_ids=ids, attention_mask=mask, past_key_values=self._answers, use_cache=True, **places
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

    def _step_with_encoder(self, ids: torch.Tensor, mask: torch.Tensor) -> Any:
        """The cross-attention cache holds all that decoding needs of the encoder; its output is read for its shape only."""
        encoder_mask = self._mask(self._prompt_lengths, left=False)
        width = self._loaded.model.config.hidden_size
        # One zero, expanded: a tensor of that shape without its memory.
        said = torch.zeros(1, dtype=self._loaded.dtype, device=self._loaded.device).expand(*encoder_mask.shape, width)
        return self._loaded.model(
            encoder_outputs=(said,),
            attention_mask=encoder_mask,
            decoder_input_ids=ids,
            decoder_attention_mask=mask,
            past_key_values=EncoderDecoderCache(self._answers, self._prompts),
            use_cache=True,
        )

    def _join_one(self, rows: DynamicCache, newcomer: DynamicCache, lengths: Sequence[int], left: bool) -> None:
        """Append a row to a cache; both are padded to the longer one's length."""
        if not lengths:
            for number, layer in enumerate(newcomer.layers):
                rows.update(layer.keys, layer.values, number)
            return
        for row, new in zip(rows.layers, newcomer.layers, strict=True):
            length = max(row.keys.shape[2], new.keys.shape[2])
            row.keys = torch.cat([_padded(row.keys, length, left), _padded(new.keys, length, left)])
            row.values = torch.cat([_padded(row.values, length, left), _padded(new.values, length, left)])

    def _mask(self, lengths: Sequence[int], left: bool) -> torch.Tensor:
        columns = torch.arange(max(lengths), device=self._loaded.device)[None]
        numbers = _column(lengths, self._loaded.device)
        return (columns >= columns.shape[1] - numbers if left else columns < numbers).long()


class LastPositions:
    """A hook on the output layer that passes on each row's last position only.

    ``places`` says where that is in right-padded rows; None: in the last column.
    """

    places: torch.Tensor | None = None

    def keep(self, module: Any, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden, *rest = arguments
        if self.places is None:
            return (hidden[:, -1:], *rest)
        rows = torch.arange(hidden.shape[0], device=hidden.device)
        return (hidden[rows, self.places][:, None], *rest)


def keep_last_logits(model: Any) -> LastPositions:
    """From now on the model computes the logits of each row's last position only.

    Those of the other positions would take much of a prefill's memory and, in a small model, of its time. Not every
    model takes ``logits_to_keep``, and that argument knows no right padding.
    """
    last = LastPositions()
    model.get_output_embeddings().register_forward_pre_hook(last.keep)
    return last


def read_prompt(loaded: LoadedModel, prompt: list[int], answer: Sequence[int] = (), **options: Any) -> Any:
    """The model's output for one prompt and the beginning of an answer, called in the plainest way."""
    if loaded.decoder_start:
        ids = {"input_ids": [prompt], "decoder_input_ids": [[*loaded.decoder_start, *answer]]}
    else:
        ids = {"input_ids": [[*prompt, *answer]]}
    tensors = {name: torch.tensor(rows, device=loaded.device) for name, rows in ids.items()}
    return loaded.model(**tensors, **{"use_cache": True, **options})


def _state(output: Any) -> dict[str, Any]:
    """What a model needs again with the next token, under the names of its arguments. Mamba calls it ``cache_params``."""
    if getattr(output, "cache_params", None) is not None:
        return {"cache_params": output.cache_params}
    state = {"past_key_values": output.past_key_values}
    said = getattr(output, "encoder_last_hidden_state", None)
    return state if said is None else {**state, "encoder_outputs": (said,)}


def _token_bytes(cache: Any) -> int:
    """The bytes of one token of one row, in all layers that keep keys and values."""
    if isinstance(cache, EncoderDecoderCache):
        return max(_token_bytes(cache.self_attention_cache), _token_bytes(cache.cross_attention_cache))
    kept = [getattr(layer, name, None) for layer in getattr(cache, "layers", ()) for name in ("keys", "values")]
    return sum(tensor[0, :, 0].numel() * tensor.element_size() for tensor in kept if isinstance(tensor, torch.Tensor))


def _column(numbers: Sequence[int], device: torch.device) -> torch.Tensor:
    return torch.tensor(numbers, device=device)[:, None]


def _padded(tensor: torch.Tensor, length: int, left: bool) -> torch.Tensor:
    """Padded with zeros along the tokens: masked values are multiplied by 0, and 0 x NaN would be NaN."""
    missing = length - tensor.shape[2]
    return functional.pad(tensor, (0, 0, missing, 0) if left else (0, 0, 0, missing))
