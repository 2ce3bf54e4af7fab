"""Continuous batching for any model that transformers can load and that generates text, on CPU or GPU.

One thread, the decode thread, owns the model. Between two steps it admits new rows, and removes rows that ended or whose
request was cancelled; each step then advances all rows by one token. How rows are batched is in ``decoders.py``, and which
way suits a model in ``choosing.py``.

There are no locks. Rows go to the thread through ``_arrivals`` (a ``SimpleQueue``), pieces come back through each request's
``ReplyChannel``, and cancellation is that channel's ``closed``. ``_waiting``, ``_running``, the decoder and the counters are
written by the thread alone; ``stats`` reads their sizes from elsewhere and may be one step old. No row is left waiting when the
thread ends: it sets ``_ended`` before it takes the last arrivals, and who puts rows looks at ``_ended`` after that.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from evolcoder.serve.engines.base import (
    Accepted,
    ChatPrompt,
    EngineError,
    EngineStats,
    Events,
    GenerationRequest,
    InfillPrompt,
    Rejected,
)
from evolcoder.serve.engines.choosing import choose_decoder
from evolcoder.serve.engines.loading import cache_budget_bytes, load_model
from evolcoder.serve.engines.prompts import PromptError, encode_prompt, find_infill
from evolcoder.serve.engines.rows import Delivery, ReplyChannel, Row, deliver
from evolcoder.serve.engines.sampling import sample_tokens, top_logprobs
from evolcoder.serve.engines.text import TokenNames

PREFILL_TOKENS = 4096
"""Prompts are read in batches of at most this many tokens, padding included, unless one alone is longer.

It bounds the memory of a prefill, and how long the rows that run already must wait for one."""


class TransformersEngine:
    """See the module. To be used from an event loop; several loops may share one engine.

    Args:
        threads: of torch, on a CPU.
        max_model_len: a shorter context than the model's own, or None.
        dtype: None chooses the fastest that is safe.

    ``max_model_len`` is the context that there is room for in the end.

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
        self._decoder = choose_decoder(loaded, folder)
        self._cache_tokens = cache_budget_bytes(loaded.device) // max(1, self._decoder.token_bytes)
        # A row that could never be admitted would block the queue for ever, so the context is cut to what memory holds.
        self.max_model_len = min(loaded.max_model_len, self._cache_tokens)
        self._loaded = replace(loaded, max_model_len=self.max_model_len)
        self._infill = find_infill(loaded.tokenizer)
        self._names = TokenNames(loaded.tokenizer)
        # Never cleaned up: that would take spaces out of code which the model wrote.
        self._decode = partial(loaded.tokenizer.decode, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        self._special_ids = dict(loaded.tokenizer.get_added_vocab())
        self._arrivals: queue.SimpleQueue[Row | None] = queue.SimpleQueue()
        self._waiting: deque[Row] = deque()
        self._running: list[Row] = []
        self._steps = self._generated = self._prompted = self._cancelled = 0
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="decode", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """End the thread; requests that are not complete get an ``EngineError``."""
        self._arrivals.put(None)
        self._thread.join()

    def stats(self) -> EngineStats:
        waiting, totals = len(self._waiting) + self._arrivals.qsize(), (self._steps, self._generated, self._prompted)
        decoding = self._decoder.name
        return EngineStats(len(self._running), waiting, *totals, self._cancelled, self.max_model_len, decoding)

    async def answer(self, request: GenerationRequest, streamed: bool) -> Events:
        """Answer a request; see ``base``.

        Raises:
            EngineError: the engine could not go on.
        """
        loaded = self._loaded
        try:
            prompts = [
                encode_prompt(loaded.tokenizer, prompt, self._infill, loaded.vocabulary, bool(loaded.decoder_start))
                for prompt in request.prompts
            ]
        except PromptError as error:
            yield Rejected(error.message, param=error.param)
            return
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of the tokenizers library is no Exception, and Ray would end the process
            raise EngineError.of(error) from error
        longest = max(len(prompt) for prompt in prompts)
        if loaded.answer_room(longest) < 1:
            yield Rejected(
                f"This model's maximum context length is {self.max_model_len} tokens, but the prompt has {longest} tokens"
                + ("." if loaded.decoder_start else ", which leaves no room for an answer."),
                "context_length_exceeded",
                "messages" if isinstance(request.prompts[0], ChatPrompt) else "prompt",
            )
            return
        yield Accepted(sum(len(prompt) for prompt in prompts))
        channel = ReplyChannel(asyncio.get_running_loop())
        unfinished = len(prompts) * request.n
        try:
            for index in range(unfinished):
                self._arrivals.put(self._row(index, prompts[index // request.n], request, channel, streamed))
            if self._ended:
                raise EngineError("The engine has stopped.")
            while unfinished:
                delivery = await channel.deliveries.get()
                if isinstance(delivery, EngineError):
                    raise delivery
                unfinished -= delivery.finish_reason is not None
                yield delivery
        finally:
            # However the iterator ends: by its last piece, an error, or ``aclose`` when the client has gone. The thread drops
            # the rows before its next step.
            channel.closed = True

    def _row(self, index: int, prompt: list[int], request: GenerationRequest, channel: ReplyChannel, streamed: bool) -> Row:
        sampling, room = request.sampling, self._loaded.answer_room(len(prompt))
        # A stop string that is a special token never shows in the text (special tokens are skipped), so it stops by its id.
        stop_ids = {self._special_ids[stop] for stop in sampling.stop if stop in self._special_ids}
        if not sampling.ignore_eos:
            stop_ids |= self._loaded.eos_ids
            if self._infill and isinstance(request.prompts[index // request.n], InfillPrompt):
                stop_ids |= self._infill.ends
        return Row(
            index=index,
            prompt=prompt,
            follows=list(self._loaded.decoder_start) or prompt,
            sampling=sampling,
            max_tokens=min(room, sampling.max_tokens or room),
            decode=self._decode,
            names=self._names,
            stop_ids=stop_ids,
            channel=channel,
            streamed=streamed,
        )

    # All that follows runs in the decode thread.

    def _run(self) -> None:
        try:
            torch.set_num_threads(self._threads)  # OpenMP has this setting per thread, and Ray sets it to one
            while True:
                # Arrivals are taken in; one is waited for when there is nothing else to do.
                while not self._arrivals.empty() or not (self._running or self._waiting):
                    row = self._arrivals.get()
                    if row is None:  # the engine is being closed
                        return
                    self._waiting.append(row)
                try:
                    self._advance()
                # After a failure within a step the cache's rows may differ in length from what the engine believes, so all
                # running rows fail with it; those that wait are tried on an empty cache.
                except BaseException as error:  # noqa: BLE001 - the thread must outlive it
                    deliver((row, EngineError.of(error)) for row in self._running)
                    self._running = []
                    self._decoder.clear()
        finally:
            self._ended = True
            while not self._arrivals.empty():
                self._waiting.extend(row for row in [self._arrivals.get()] if row is not None)
            deliver((row, EngineError("The engine has stopped.")) for row in [*self._running, *self._waiting])

    @torch.inference_mode()
    def _advance(self) -> None:
        gone = {number for number, row in enumerate(self._running) if row.ended or row.channel.closed}
        self._cancelled += sum(not self._running[number].ended for number in gone)
        if gone:  # the decoder says in which order it keeps the others
            self._running = [self._running[number] for number in self._decoder.drop(gone)]
        # New rows are read at once, before the others go on: the sooner they run, the more rows share each step, and a step
        # costs nearly the same for one row as for many.
        newcomers = self._admit()
        if newcomers:
            self._running += newcomers
            logits = self._decoder.join([row.prompt for row in newcomers])
            self._prompted += sum(len(row.prompt) for row in newcomers)
            self._sample_and_deliver(newcomers, logits)
        elif self._running:
            self._sample_and_deliver(self._running, self._decoder.step([row.token for row in self._running]))

    def _admit(self) -> list[Row]:
        """The waiting rows that may join now: those that fit the batch, the memory, and one prefill.

        In the order of arrival, and the first that does not fit holds up the rest: else a long one might never get its turn.
        """
        newcomers: list[Row] = []
        longest = max((row.reserved_tokens for row in self._running), default=0)
        widest = 0
        while self._waiting and len(self._running) + len(newcomers) < self._max_batch_size:
            row = self._waiting[0]
            if row.channel.closed:
                self._waiting.popleft()
                self._cancelled += 1
                continue
            longest, widest = max(longest, row.reserved_tokens), max(widest, len(row.prompt))
            rows = len(self._running) + len(newcomers) + 1
            # Buffers are rectangular, so every row costs as much as the longest may come to. A row alone always fits.
            if rows > 1 and rows * longest > self._cache_tokens:
                break
            if newcomers and (len(newcomers) + 1) * widest > PREFILL_TOKENS:
                break
            newcomers.append(self._waiting.popleft())
        return newcomers

    def _sample_and_deliver(self, rows: list[Row], logits: torch.Tensor) -> None:
        """Sample a token for each of ``rows``, and deliver what that completes.

        ``rows`` are all running rows, or the newly admitted ones among them; ``logits`` has one row for each of them.
        """
        tokens = sample_tokens(logits, [row.sampler for row in rows])
        counts = [row.sampling.logprobs for row in rows]
        asked = {number: count for number, count in enumerate(counts) if count is not None}
        logprobs: dict[int, list[tuple[int, float]]] = {}
        if asked:
            found = top_logprobs(logits, list(asked), [tokens[number] for number in asked], max(asked.values()))
            logprobs = {number: pairs[: 1 + asked[number]] for number, pairs in zip(asked, found, strict=True)}
        self._steps += 1
        self._generated += len(rows)
        deliveries: list[tuple[Row, Delivery]] = []
        for number, (row, token) in enumerate(zip(rows, tokens, strict=True)):
            try:
                delivery: Delivery | None = row.add_token(token, logprobs.get(number))
            except BaseException as error:  # noqa: BLE001 - such as the tokenizer's: this row's alone
                delivery, row.ended = EngineError.of(error), True
            if delivery is not None:
                deliveries.append((row, delivery))
        deliver(deliveries)
