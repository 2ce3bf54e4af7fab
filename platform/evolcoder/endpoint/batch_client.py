"""OpenAI's Batch API as another way to the same replies: requests are put into files and answered within a day, for less.

``BatchClient`` has the face of ``EndpointClient``: a caller asks for one reply and waits. What is asked within some seconds
goes as one batch; requests that got no reply are put into a later one. A batch is marked with its owner, so that a run that
was killed finds the batches that it left and takes their replies, without asking again (``collect``).
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeVar

from evolcoder.endpoint.faults import Fault, fault_of, fault_of_status, run_wide_error, status_message
from evolcoder.endpoint.journal.lines import Entry, request_key
from evolcoder.endpoint.limits.limiter import Limiter, LocalLimiter, Permit
from evolcoder.endpoint.requests import Endpoint, RequestFailed, SamplingSettings, TeacherReply, reply_of, request_body
from evolcoder.endpoint.transport import openai_client
from evolcoder.errors import EndpointError, EvolcoderError

MAX_REQUESTS = 50_000
MAX_BYTES = 100 << 20
LONGEST_GATHER_SECONDS = 5.0
OWNER = "evolcoder"
"""The key of a batch's metadata that says whose it is."""

_URL: Literal["/v1/chat/completions"] = "/v1/chat/completions"
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_LONGEST_PAUSE_SECONDS = 300.0

T = TypeVar("T")

OnLook = Callable[[str, int, int], object]
"""Is called with a batch's id, how many of its requests have an outcome, and how many it has."""


@dataclass
class _Asked:
    """A request that waits for its reply, and what it met so far."""

    key: str
    body: dict[str, Any]
    permit: Permit
    reply: asyncio.Future[TeacherReply]
    kinds: list[str] = field(default_factory=list)

    def line(self) -> bytes:
        entry = {"custom_id": self.key, "method": "POST", "url": _URL, "body": self.body}
        return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


class BatchClient:
    """Asks one endpoint by batches. Use it from one event loop.

    Args:
        owner: whose the batches are.
        poll_seconds: how often a batch is looked at.
        on_look: is told each time how far it is.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        owner: str,
        poll_seconds: float,
        limiter: Limiter | None = None,
        on_look: OnLook | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.faults: Counter[str] = Counter()
        self.sent = 0
        self._desk = _Desk(endpoint, owner, poll_seconds, on_look)
        self._limiter: Limiter = LocalLimiter(1) if limiter is None else limiter
        self._gather_seconds = min(LONGEST_GATHER_SECONDS, poll_seconds)
        self._waiting: list[_Asked] = []
        self._timer: asyncio.TimerHandle | None = None
        self._batches: set[asyncio.Task[None]] = set()
        self._stopped: EvolcoderError | None = None

    async def chat(self, messages: list[dict[str, str]], sampling: SamplingSettings) -> TeacherReply:
        """One chat completion. Raises as ``EndpointClient.chat`` does."""
        body = request_body(self.endpoint.model, {"messages": messages}, sampling)
        if self._stopped:
            raise type(self._stopped)(*self._stopped.args)
        permit = await self._admitted(body)
        asked = _Asked(request_key("chat", body), body, permit, asyncio.get_running_loop().create_future())
        self._put([asked])
        return await asked.reply

    async def close(self) -> None:
        for task in self._batches:
            task.cancel()
        await asyncio.gather(*self._batches, return_exceptions=True)
        await self._desk.close()

    async def _admitted(self, body: dict[str, Any]) -> Permit:
        try:
            return await self._limiter.acquire(body)
        except EvolcoderError as error:
            self._stop_all(error)
            raise

    def _put(self, asked: Iterable[_Asked]) -> None:
        self._waiting += asked
        if self._timer is not None:
            self._timer.cancel()
        # The batch is closed when nothing more has come for a while, or when it is full.
        wait = 0.0 if len(self._waiting) >= MAX_REQUESTS else self._gather_seconds
        self._timer = asyncio.get_running_loop().call_later(wait, self._send_off)

    def _send_off(self) -> None:
        for batch in _split(self._waiting):
            task = asyncio.get_running_loop().create_task(self._see_through(batch))
            self._batches.add(task)
            task.add_done_callback(partial(self._ended, batch))
        self._waiting = []

    def _ended(self, batch: Sequence[_Asked], task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        error = None if task.cancelled() else task.exception()
        for one in batch:
            if error is not None and not one.reply.done():
                one.reply.set_exception(error)  # nobody waits for ever for a fault of ours

    async def _see_through(self, asked: Sequence[_Asked]) -> None:
        """Send a batch, wait for its end, and give each request its reply or its failure, or another try."""
        self.sent += len(asked)
        outcomes: dict[str, TeacherReply | Fault] = {}
        try:
            async for key, outcome in self._desk.answers([one.line() for one in asked]):
                outcomes[key] = outcome
            missing = Fault("expired", "the batch ended without this request's reply")
        except Fault as fault:
            missing = fault
        except EvolcoderError as error:
            self._stop_all(error)
            missing = Fault("stopped", error.message)
        again = [one for one in asked if not self._settled(one, outcomes.get(one.key, missing))]
        for one in again:
            try:
                one.permit = await self._admitted(one.body)
            except EvolcoderError:
                continue  # all that wait were told
            self._put([one])

    def _settled(self, one: _Asked, outcome: TeacherReply | Fault) -> bool:
        """Tell who asked, unless another try makes sense."""
        if one.reply.done():
            return True
        if isinstance(outcome, TeacherReply):
            self._limiter.release(one.permit, outcome, True)
            one.reply.set_result(outcome)
            return True
        self._limiter.release(one.permit, None, outcome.maybe_billed)
        self.faults[outcome.kind] += 1
        one.kinds.append(outcome.kind)
        if self._stopped:
            one.reply.set_exception(type(self._stopped)(*self._stopped.args))
        elif not outcome.retryable or len(one.kinds) >= self.endpoint.max_attempts:
            one.reply.set_exception(RequestFailed(outcome.kind, outcome.message))
        return one.reply.done()

    def _stop_all(self, error: EvolcoderError) -> None:
        self._stopped = self._stopped or error
        self._limiter.stop(error)
        for one in self._waiting:
            self._limiter.release(one.permit, None, False)
            if not one.reply.done():
                one.reply.set_exception(type(error)(*error.args))
        self._waiting = []


class _Desk:
    """The Batch API's own calls."""

    def __init__(self, endpoint: Endpoint, owner: str, poll_seconds: float, on_look: OnLook | None = None) -> None:
        self._endpoint = endpoint
        self._on_look = on_look
        self._owner = owner
        self._poll_seconds = poll_seconds
        self._openai = openai_client(endpoint.base_url, endpoint.api_key, endpoint.timeout_seconds)

    async def close(self) -> None:
        await self._openai.close()

    async def answers(self, lines: Sequence[bytes]) -> AsyncIterator[tuple[str, TeacherReply | Fault]]:
        """Send a batch of these lines, wait until it ended, and give its outcomes by key.

        Raises:
            Fault: the batch could not be sent, or was refused as a whole.
            EndpointError: the endpoint cannot be used at all.
        """
        file = await self._once(self._openai.files.create(file=("requests.jsonl", b"".join(lines)), purpose="batch"))
        batch = await self._once(
            self._openai.batches.create(
                input_file_id=file.id, endpoint=_URL, completion_window="24h", metadata={OWNER: self._owner}
            )
        )
        async for outcome in self.outcomes(batch):
            yield outcome

    async def outcomes(self, batch: Any) -> AsyncIterator[tuple[str, TeacherReply | Fault]]:
        """Wait until a batch ended, and give its outcomes by key. Raises as ``answers`` does."""
        self._look(batch)
        while batch.status not in _ENDED:
            await asyncio.sleep(self._poll_seconds)
            batch = await self._patiently(partial(self._openai.batches.retrieve, batch.id))
            self._look(batch)
        if batch.status == "failed":
            errors = getattr(batch.errors, "data", None) or []
            said = "; ".join(str(error.message) for error in errors[:3]) or "no reason given"
            raise Fault("rejected", f"the batch {batch.id} was refused: {said}", retryable=False)
        for name in (batch.output_file_id, batch.error_file_id):
            if name:
                content = await self._patiently(partial(self._openai.files.content, name))
                for line in content.text.splitlines():
                    outcome = _outcome(line)
                    if outcome is not None:
                        yield outcome

    def _look(self, batch: Any) -> None:
        counts = batch.request_counts
        if self._on_look is not None and counts is not None:
            self._on_look(batch.id, counts.completed + counts.failed, counts.total)

    async def owned(self) -> list[Any]:
        """The owner's batches that the endpoint knows of."""
        found = []
        page = await self._patiently(self._first_page)
        while True:
            found += [batch for batch in page.data if (batch.metadata or {}).get(OWNER) == self._owner]
            if not page.has_next_page():
                return found
            page = await self._patiently(page.get_next_page)

    async def _first_page(self) -> Any:
        return await self._openai.batches.list(limit=100)

    async def _once(self, call: Awaitable[T]) -> T:
        """Raises Fault or EndpointError for whatever the call ends with."""
        import aiohttp
        import openai

        try:
            return await call
        except (openai.APIError, aiohttp.ClientError, OSError) as error:
            stop = run_wide_error(error, self._endpoint.base_url, self._endpoint.model)
            if stop is not None:
                raise stop from error
            raise fault_of(error) from error

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """The same, tried again through faults that pass: the batch is paid for, whatever its server does meanwhile."""
        pause = self._poll_seconds
        for tries in range(self._endpoint.max_attempts):
            try:
                return await self._once(call())
            except Fault as fault:
                if not fault.retryable or tries + 1 == self._endpoint.max_attempts:
                    sentence = f"The batches at {self._endpoint.base_url} cannot be read ({fault.message}); what they hold is "
                    raise EndpointError(f"{sentence}not lost: run the same command again.") from fault
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        raise AssertionError("max_attempts is positive")


def _split(asked: Sequence[_Asked]) -> Iterable[list[_Asked]]:
    """Batches within the limits of their number and size."""
    batch: list[_Asked] = []
    size = 0
    for one in asked:
        length = len(one.line())
        if batch and (len(batch) >= MAX_REQUESTS or size + length > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += length
    if batch:
        yield batch


def _outcome(line: str) -> tuple[str, TeacherReply | Fault] | None:
    """What one line of a batch's files says of a request; None for a line that names none."""
    try:
        data = json.loads(line)
        key = str(data["custom_id"])
    except (ValueError, LookupError, TypeError):
        return None
    response = data.get("response") if isinstance(data, Mapping) else None
    if not isinstance(response, Mapping):
        error = data.get("error") or {}
        return key, Fault("expired", str(error.get("message") or "no reply before the batch ended"))
    status, body = response.get("status_code"), response.get("body")
    if status != 200:
        return key, fault_of_status(int(status or 500), {}, status_message(body, "the request failed"))
    try:
        return key, reply_of(body)
    except Fault as fault:
        return key, fault


async def collect(
    endpoint: Endpoint, owner: str, poll_seconds: float, known: Callable[[str], bool], keep: Callable[[Entry], Awaitable[None]]
) -> int:
    """Take the replies of all batches that earlier processes of this owner left; returns how many were new.

    Args:
        known: whether the reply to a request is there already.
        keep: is called with each that is not.

    Raises:
        EndpointError: the endpoint cannot be used.
    """
    desk = _Desk(endpoint, owner, poll_seconds)
    new = 0
    try:
        for batch in await desk.owned():
            try:
                async for key, outcome in desk.outcomes(batch):
                    if isinstance(outcome, TeacherReply) and not known(key):
                        usage = (outcome.prompt_tokens, outcome.completion_tokens)
                        await keep(Entry(key, outcome.text, outcome.finish_reason, *usage))
                        new += 1
            except Fault:
                continue  # refused as a whole: it holds nothing, and cost nothing
    finally:
        await desk.close()
    return new
