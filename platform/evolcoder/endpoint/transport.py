"""How a request's JSON reaches an endpoint and its reply comes back as text: by the openai package, or by aiohttp alone.

Both pool as many connections as are needed, send what the OpenAI API asks for, go by the proxy that the environment names,
and try nothing again. The openai package takes more CPU time a call. What is used of it beyond its
documented calls stands here alone, as read in 3.54.0; ``tests/endpoint/test_transport.py`` fails when that has moved:
``post(cast_to=bytes)`` gives a reply's body as it came, and the exceptions below are chained to those of aiohttp.
"""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from evolcoder.endpoint.refusals import failure_of_status, short_line
from evolcoder.endpoint.requests import Endpoint, RequestFailed

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from openai import AsyncOpenAI


@contextmanager
def failures_named(endpoint: Endpoint) -> Iterator[None]:
    """Raises RequestFailed for whatever the openai package, aiohttp or the operating system raises inside."""
    import aiohttp

    openai: Any = sys.modules.get("openai")  # what was never imported raises nothing, and its import takes a second
    statuses, errors = ((openai.APIStatusError,), (openai.APIError,)) if openai else ((), ())
    try:
        yield
    except statuses as error:
        raise failure_of_status(error.status_code, error.response.headers, error.body, endpoint) from error
    except (*errors, aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
        chain: list[BaseException] = [error]
        while (cause := chain[-1].__cause__) is not None:
            chain.append(cause)
        message = short_line(chain[-1]) or type(chain[-1]).__name__
        if any(isinstance(one, aiohttp.InvalidURL) for one in chain):
            raise RequestFailed("unreachable", f"{message} is no http address") from error
        if any(isinstance(one, aiohttp.ClientConnectorError) for one in chain):
            raise RequestFailed("unreachable", message) from error
        if any(isinstance(one, aiohttp.ServerTimeoutError | asyncio.TimeoutError) for one in chain):
            raise RequestFailed("timeout", "no whole reply in time", maybe_billed=True) from error
        raise RequestFailed("dropped", message, maybe_billed=True) from error


def openai_client(endpoint: Endpoint) -> AsyncOpenAI:
    """The openai package's client over aiohttp, which tries nothing again by itself."""
    from openai import AsyncOpenAI, DefaultAioHttpClient

    return AsyncOpenAI(
        base_url=endpoint.base_url,
        api_key=endpoint.api_key or "none",
        max_retries=0,
        timeout=endpoint.timeout_seconds,
        http_client=DefaultAioHttpClient(),
    )


def reply_text(data: bytes) -> str:
    """A reply, which is UTF-8. A byte that is not becomes a lone surrogate here, which is replaced and counted later."""
    return data.decode("utf-8-sig", "surrogateescape")


class OpenAITransport:
    """Posts to one endpoint by the openai package. Use it inside ``failures_named``."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._openai = openai_client(endpoint)
        self.close = self._openai.close

    async def post(self, path: str, body: Mapping[str, Any]) -> str:
        """The reply's text."""
        return reply_text(await self._openai.post(path, cast_to=bytes, body=body))


@dataclass
class AioHttpTransport:
    """The same by plain aiohttp."""

    endpoint: Endpoint
    _session: Any = None

    async def post(self, path: str, body: Mapping[str, Any]) -> str:
        """The reply's text."""
        if self._session is None:  # made here, for it belongs to the event loop that runs now
            self._session = session_to(self.endpoint)
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        async with self._session.post(self.endpoint.base_url.rstrip("/") + path, data=data) as response:
            text = reply_text(await response.read())
            if response.status >= 400:
                raise failure_of_status(response.status, response.headers, text, self.endpoint)
            return text

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def session_to(endpoint: Endpoint) -> ClientSession:
    """A session of aiohttp with the endpoint's key and time-out, and the proxy that the environment names for it."""
    import aiohttp

    # aiohttp's own ``trust_env`` would ask the environment anew at every request.
    address, key = urlsplit(endpoint.base_url), endpoint.api_key
    direct = urllib.request.proxy_bypass(address.hostname or "")
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),  # the client's own slots limit it
        proxy=None if direct else urllib.request.getproxies().get(address.scheme),
        timeout=aiohttp.ClientTimeout(total=endpoint.timeout_seconds),
        headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {}),
    )
