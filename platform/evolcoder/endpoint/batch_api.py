"""OpenAI's Batch API: requests go in files, and are answered within a day, for less.

A batch carries its owner's name, so that a process that was killed finds the batches that it left. What is asked, and what
becomes of a request without a reply, is up to the caller.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

from evolcoder.endpoint.refusals import failure_of_status, short_line
from evolcoder.endpoint.replies import reply_of
from evolcoder.endpoint.requests import Endpoint, RequestFailed, TeacherReply
from evolcoder.endpoint.transport import failures_named, openai_client, reply_text
from evolcoder.errors import EndpointError

# What OpenAI takes in one batch is 50,000 requests and 200 MB; half of the size leaves room.
MAX_REQUESTS = 50_000
MAX_BYTES = 100 << 20
OWNER = "evolcoder"
"""The key of a batch's metadata that says whose it is."""

_URL: Literal["/v1/chat/completions"] = "/v1/chat/completions"
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_LONGEST_PAUSE_SECONDS = 300.0

T = TypeVar("T")

OnLook = Callable[[str, int, int], object]
"""Is called with a batch's id, how many of its requests have an outcome, and how many it has."""


def batches_of(requests: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, bytes]]:
    """The lines of batches within the limits of their number and size, by the key under which each outcome comes back.

    Args:
        requests: bodies by key.
    """
    batch: dict[str, bytes] = {}
    size = 0
    for key, body in requests.items():
        entry = {"custom_id": key, "method": "POST", "url": _URL, "body": body}
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        if batch and (len(batch) >= MAX_REQUESTS or size + len(line) > MAX_BYTES):
            yield batch
            batch, size = {}, 0
        batch[key] = line
        size += len(line)
    if batch:
        yield batch


class BatchApi:
    """The calls of one endpoint's Batch API. Make and use it inside one event loop.

    Args:
        owner: whose the batches are.
        poll_seconds: how often a batch is looked at.
        on_look: is told each time how far it is.
    """

    def __init__(self, endpoint: Endpoint, owner: str, poll_seconds: float, on_look: OnLook) -> None:
        self._endpoint = endpoint
        self._on_look = on_look
        self._owner = owner
        self._poll_seconds = poll_seconds
        self._openai = openai_client(endpoint)
        self.close = self._openai.close

    async def answers(self, lines: Sequence[bytes]) -> AsyncIterator[tuple[str, TeacherReply | RequestFailed]]:
        """Send a batch of these lines, wait until it ended, and give its outcomes by key.

        Raises:
            RequestFailed: the batch could not be sent, or was refused as a whole.
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

    async def outcomes(self, batch: Any) -> AsyncIterator[tuple[str, TeacherReply | RequestFailed]]:
        """Wait until a batch ended, and give its outcomes by key. Raises as ``answers`` does."""
        while True:
            counts = batch.request_counts
            if counts is not None:
                self._on_look(batch.id, counts.completed + counts.failed, counts.total)
            if batch.status in _ENDED:
                break
            await asyncio.sleep(self._poll_seconds)
            batch = await self._patiently(partial(self._openai.batches.retrieve, batch.id))
        if batch.status == "failed":
            errors = getattr(batch.errors, "data", None) or []
            said = "; ".join(short_line(error.message) for error in errors[:3]) or "no reason given"
            raise RequestFailed("batch_refused", f"the batch {batch.id} was refused: {said}", retryable=False)
        for name in (batch.output_file_id, batch.error_file_id):
            if name:
                content = await self._patiently(partial(self._openai.files.content, name))
                for line in reply_text(content.content).split("\n"):  # no splitlines: texts may hold other separators
                    outcome = _outcome(line, self._endpoint)
                    if outcome is not None:
                        yield outcome

    async def owned(self) -> list[Any]:
        """The owner's batches that the endpoint knows of."""
        found = []
        page: Any = await self._patiently(partial(self._openai.batches.list, limit=100))
        while True:
            found += [batch for batch in page.data if (batch.metadata or {}).get(OWNER) == self._owner]
            if not page.has_next_page():
                return found
            page = await self._patiently(page.get_next_page)

    async def _once(self, call: Awaitable[T]) -> T:
        """Raises RequestFailed or EndpointError for whatever the call ends with."""
        try:
            with failures_named(self._endpoint):
                return await call
        except RequestFailed as failure:
            raise failure.endpoint_error or failure from failure.__cause__

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """The same, tried again where that may help: the batch is paid for, whatever its server does meanwhile."""
        pause = self._poll_seconds
        tries = 1
        while True:
            try:
                return await self._once(call())
            except RequestFailed as failure:
                if not failure.retryable or tries == self._endpoint.max_attempts:
                    raise EndpointError(
                        f"The batches at {self._endpoint.base_url} cannot be read ({failure.message}); what they hold is "
                        "not lost: run the same command again."
                    ) from failure
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            tries += 1


def _outcome(line: str, endpoint: Endpoint) -> tuple[str, TeacherReply | RequestFailed] | None:
    """What one line of a batch's files says of a request; None for a line that names none."""
    try:
        data = json.loads(line)
        key = str(data["custom_id"])
    except (ValueError, LookupError, TypeError):
        return None
    response = data.get("response")
    if not isinstance(response, Mapping):
        error = data.get("error") or {}
        return key, RequestFailed("expired", short_line(error.get("message") or "no reply before the batch ended"))
    status, body = response.get("status_code"), response.get("body")
    if status != 200:
        return key, failure_of_status(int(status or 500), {}, body, endpoint)
    try:
        return key, reply_of(body, endpoint)
    except RequestFailed as failure:
        return key, failure
