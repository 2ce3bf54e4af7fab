"""Continuous batching for any decoder-only model that transformers can load, on CPU or GPU.

One thread owns the model. Between two steps it lets newcomers in (their prompts are read in one batch), and lets go of
rows that ended or whose asker left; each step then advances all rows by one token. Encoder-decoder models and models
whose layers are not attention are refused; so are those for which a first test shows that rows disturb each other.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache

from evolcoder.errors import ModelError
from evolcoder.serve.engines.base import Accepted, EngineError, EngineStats, Piece, Question, Rejected
from evolcoder.serve.engines.cache import SlotCache
from evolcoder.serve.engines.loading import LoadedModel, cache_budget_bytes, load_model
from evolcoder.serve.engines.prompts import PromptError, encode_prompt
from evolcoder.serve.engines.rows import Asker, Delivery, Row, deliver
from evolcoder.serve.engines.sampling import draw, top_logprobs

PREFILL_TOKENS = 4096
"""Prompts are read in batches of at most this many tokens, padding included, unless one alone is longer."""


class TransformersEngine:
    """See the module. Use from an event loop.

    Args:
        threads: for torch on a CPU.
        max_model_len: a shorter context than the model's own, or None.
        dtype: None chooses the fastest that is safe.

    Raises:
        ModelError: the folder holds no model that can be served.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_batch_size: int,
        threads: int,
        max_model_len: int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        torch.set_num_threads(threads)
        loaded = load_model(folder, max_model_len, dtype)
        self._threads, self._max_batch_size = threads, max_batch_size
        self._loaded = loaded
        self._decoder = _Decoder(loaded)
        self._cache_tokens = cache_budget_bytes(loaded.device) // self._decoder.check(folder)
        self.max_model_len = min(loaded.max_model_len, self._cache_tokens)
        self._special_ids = dict(loaded.tokenizer.get_added_vocab())
        self._arrivals: queue.SimpleQueue[Row | None] = queue.SimpleQueue()
        self._waiting: deque[Row] = deque()
        self._running: list[Row] = []
        self._steps = self._generated = self._prompted = self._cancelled = 0
        self._thread = threading.Thread(target=self._run, name="decode", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """End the thread; whoever still waits gets an ``EngineError``."""
        self._arrivals.put(None)
        self._thread.join()

    def stats(self) -> EngineStats:
        waiting = len(self._waiting) + self._arrivals.qsize()
        running = len(self._running)
        return EngineStats(running, waiting, self._steps, self._generated, self._prompted, self._cancelled)

    async def answer(self, question: Question, streamed: bool) -> AsyncGenerator[Accepted | Rejected | Piece, None]:
        """See ``Engine.answer``."""
        asker = Asker(asyncio.get_running_loop())
        try:
            prompts = [encode_prompt(self._loaded.tokenizer, prompt) for prompt in question.prompts]
        except PromptError as error:
            yield Rejected(str(error), param=error.param)
            return
        longest = max(len(prompt) for prompt in prompts)
        if longest >= self.max_model_len:
            yield Rejected(
                f"This model's maximum context length is {self.max_model_len} tokens, but the prompt has {longest} tokens, "
                "which leaves no room for an answer.",
                "context_length_exceeded",
                "prompt",
            )
            return
        yield Accepted(sum(len(prompt) for prompt in prompts))
        rows = [
            self._row(p * question.n + choice, prompt, question, asker, streamed)
            for p, prompt in enumerate(prompts)
            for choice in range(question.n)
        ]
        try:
            async for piece in self._pieces(rows, asker):
                yield piece
        finally:
            asker.left = True

    async def _pieces(self, rows: list[Row], asker: Asker) -> AsyncIterator[Piece]:
        for row in rows:
            self._arrivals.put(row)
        if not self.is_alive():
            raise EngineError("The engine has stopped.")
        unfinished = len(rows)
        while unfinished:
            delivery = await asker.deliveries.get()
            if isinstance(delivery, EngineError):
                raise delivery
            unfinished -= delivery.finish_reason is not None
            yield delivery

    def _row(self, index: int, prompt: list[int], question: Question, asker: Asker, streamed: bool) -> Row:
        sampling = question.sampling
        room = self.max_model_len - len(prompt)
        max_tokens = room if sampling.max_tokens is None else min(room, sampling.max_tokens)
        stop_ids = {self._special_ids[stop] for stop in sampling.stop if stop in self._special_ids}
        if not sampling.ignore_eos:
            stop_ids |= self._loaded.eos_ids
        return Row(index, prompt, sampling, max_tokens, self._text, stop_ids, asker, streamed)

    def _text(self, tokens: list[int]) -> str:
        return self._loaded.tokenizer.decode(tokens, skip_special_tokens=True)  # type: ignore[no-any-return]

    # What follows runs in the thread.

    def _run(self) -> None:
        torch.set_num_threads(self._threads)  # OpenMP keeps this for each thread; Ray's default is one
        try:
            while self._receive():
                try:
                    self._advance()
                except (RuntimeError, ValueError, IndexError) as error:  # out of memory is a RuntimeError
                    self._fail(self._running, f"{type(error).__name__}: {error}")
                    self._running = []
                    self._decoder.cache.clear()
        finally:
            self._receive_all()
            self._fail([*self._running, *self._waiting], "the engine has stopped")

    def _receive(self) -> bool:
        """Take arrivals in; waits for one when there is nothing else to do. False: it is time to stop."""
        if not self._running and not self._waiting:
            row = self._arrivals.get()
            if row is None:
                return False
            self._waiting.append(row)
        return self._receive_all()

    def _receive_all(self) -> bool:
        while not self._arrivals.empty():
            row = self._arrivals.get()
            if row is None:
                return False
            self._waiting.append(row)
        return True

    @torch.inference_mode()
    def _advance(self) -> None:
        self._let_go({number for number, row in enumerate(self._running) if row.asker.left})
        newcomers = self._admit()
        if newcomers:
            self._running += newcomers
            logits = self._decoder.join([row.prompt for row in newcomers])
            self._prompted += sum(len(row.prompt) for row in newcomers)
            self._take(newcomers, logits)
        elif self._running:
            self._take(self._running, self._decoder.step([row.token for row in self._running]))

    def _admit(self) -> list[Row]:
        """The rows that may join now: they fit the batch, the memory, and one reading of prompts."""
        newcomers: list[Row] = []
        longest = max((row.reserved_tokens for row in self._running), default=0)
        widest = 0
        while self._waiting and len(self._running) + len(newcomers) < self._max_batch_size:
            row = self._waiting[0]
            if row.asker.left:
                self._waiting.popleft()
                self._cancelled += 1
                continue
            longest, widest = max(longest, row.reserved_tokens), max(widest, len(row.prompt))
            rows = len(self._running) + len(newcomers) + 1
            if rows > 1 and rows * longest > self._cache_tokens:
                break
            if newcomers and (len(newcomers) + 1) * widest > PREFILL_TOKENS:
                break
            newcomers.append(self._waiting.popleft())
        return newcomers

    def _take(self, rows: list[Row], logits: torch.Tensor) -> None:
        """Draw a token for each of ``rows``, the last of the running ones; deliver, and let go of those that end."""
        tokens = draw(logits, [row.drawer for row in rows])
        asked = {number: row.drawer.sampling.logprobs for number, row in enumerate(rows)}
        numbers = [number for number, count in asked.items() if count is not None]
        logprobs: dict[int, list[tuple[int, float]]] = {}
        if numbers:
            most = max(count or 0 for count in asked.values())
            found = top_logprobs(logits, numbers, [tokens[number] for number in numbers], most)
            logprobs = {number: pairs[: 1 + (asked[number] or 0)] for number, pairs in zip(numbers, found, strict=True)}
        self._steps += 1
        self._generated += len(rows)
        deliveries: list[tuple[Row, Delivery]] = []
        for number, (row, token) in enumerate(zip(rows, tokens, strict=True)):
            piece = row.take(token, logprobs.get(number))
            if piece is not None:
                deliveries.append((row, piece))
        deliver(deliveries)
        finished = {id(row) for row, piece in deliveries if isinstance(piece, Piece) and piece.finish_reason}
        self._remove({number for number, row in enumerate(self._running) if id(row) in finished})

    def _let_go(self, gone: set[int]) -> None:
        self._cancelled += len(gone)
        self._remove(gone)

    def _remove(self, gone: set[int]) -> None:
        if gone:
            self._running = [self._running[number] for number in self._decoder.cache.drop(gone)]

    def _fail(self, rows: list[Row], reason: str) -> None:
        deliver((row, EngineError(f"The engine could not go on with this answer ({reason}).")) for row in rows)


class _Decoder:
    """The model with its cache: reads prompts in, and advances all rows by one token."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._model, self._device, self._dtype = loaded.model, loaded.device, loaded.dtype
        self._last: torch.Tensor | None = None
        head = loaded.model.get_output_embeddings()
        if head is None:
            raise ModelError(f"A model of the kind {loaded.model.config.model_type} has no output layer to decode with.")
        head.register_forward_pre_hook(self._only_last)
        self.cache = SlotCache(0)

    def join(self, prompts: list[list[int]]) -> torch.Tensor:
        """Read prompts into new rows; returns the logits, one row for each, that follow them.

        They are padded on the right: no token sees those after it, so the padding changes nothing.
        """
        lengths = [len(prompt) for prompt in prompts]
        padded = torch.zeros((len(prompts), max(lengths)), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            padded[row, : len(prompt)] = torch.tensor(prompt)
        padded = padded.to(self._device)
        positions = torch.arange(padded.shape[1], device=self._device).expand(padded.shape)
        self._last = torch.tensor(lengths, device=self._device) - 1
        cache = DynamicCache()
        try:
            output = self._model(input_ids=padded, position_ids=positions, past_key_values=cache, use_cache=True)
        finally:
            self._last = None
        if len(self.cache) != len(cache.layers):
            self.cache = SlotCache(len(cache.layers))
        self.cache.join(cache, lengths)
        return output.logits[:, -1]  # type: ignore[no-any-return]

    def step(self, tokens: list[int]) -> torch.Tensor:
        """Append each row's token; returns the logits that follow."""
        positions, mask = self.cache.begin_step(self._device, self._dtype)
        ids = torch.tensor(tokens, device=self._device)[:, None]
        output = self._model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=self.cache, use_cache=True
        )
        return output.logits[:, -1]  # type: ignore[no-any-return]

    @torch.inference_mode()
    def check(self, folder: Path) -> int:
        """Make sure that rows of different lengths do not disturb each other; also warms the model up.

        Returns:
            The bytes that one token of one row takes in the cache.

        Raises:
            ModelError: they do; the model's code does not take positions and masks as the loop gives them.
        """
        generator = torch.Generator().manual_seed(0)
        vocabulary = self._model.get_input_embeddings().weight.shape[0]
        ids = torch.randint(vocabulary, (13,), generator=generator).tolist()
        try:
            self.join([ids[:4], ids[:12]])
            together = self.step([ids[4], ids[12]]).float()
            alone = torch.stack([self._alone(ids[:5]), self._alone(ids[:13])])
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
            raise ModelError(
                f"{folder} ({self._model.config.model_type}) cannot be served by the transformers engine: "
                f"{type(error).__name__}: {' '.join(str(error).split())[:200]}."
            ) from error
        difference = (together - alone).abs().mean()
        if not difference <= 0.1 * alone.std():
            raise ModelError(
                f"{folder} ({self._model.config.model_type}) cannot be served by the transformers engine: its answers in a "
                "batch differ from its answers alone."
            )
        size = sum(
            layer.keys[0, :, 0].numel() * layer.keys.element_size()
            + layer.values[0, :, 0].numel() * layer.values.element_size()
            for layer in self.cache.layers
        )
        self.cache.clear()
        return int(size)

    def _alone(self, ids: list[int]) -> torch.Tensor:
        logits = self._model(input_ids=torch.tensor([ids], device=self._device), use_cache=False).logits
        return logits[0, -1].float()  # type: ignore[no-any-return]

    def _only_last(self, module: Any, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        """Before the output layer: keep each prompt's last position, the only one whose logits are wanted."""
        if self._last is None:
            return None
        hidden, *rest = arguments
        rows = torch.arange(hidden.shape[0], device=hidden.device)
        return (hidden[rows, self._last][:, None], *rest)
