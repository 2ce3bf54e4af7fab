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

from evolcoder.endpoint.faults import Fault, fault_of, fault_of_status, run_wide_error, status_message
from evolcoder.endpoint.requests import Endpoint, TeacherReply, reply_of
from evolcoder.endpoint.transport import openai_client
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


def batch_line(key: str, body: Mapping[str, Any]) -> bytes:
    """One request of a batch; its outcome comes back under the key."""
    entry = {"custom_id": key, "method": "POST", "url": _URL, "body": body}
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def split(lines: Mapping[str, bytes]) -> Iterator[dict[str, bytes]]:
    """Batches within the limits of their number and size."""
    batch: dict[str, bytes] = {}
    size = 0
    for key, line in lines.items():
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
