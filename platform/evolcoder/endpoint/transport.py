"""How a request's JSON reaches an endpoint and its reply comes back as text: by the openai package, or by aiohttp alone.

Both pool as many connections as are needed, send what the OpenAI API asks for, and try nothing again. The openai package
takes more CPU time a call; it is the default, since it follows the API wherever that goes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from openai import AsyncOpenAI

TransportName = Literal["openai", "aiohttp"]


class StatusError(Exception):
    """The endpoint answered with an HTTP status of 400 or more."""

    def __init__(self, status: int, headers: Mapping[str, str], text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.headers = headers
        self.text = text


class Transport(Protocol):
    """Posts to one endpoint. Raises what ``faults.fault_of`` knows."""

    async def post(self, path: str, body: Mapping[str, Any]) -> str: ...

    async def close(self) -> None: ...


def openai_client(base_url: str, api_key: str | None, timeout_seconds: float) -> AsyncOpenAI:
    """The openai package's client, which tries nothing again by itself."""
    from openai import AsyncOpenAI, DefaultAioHttpClient

    return AsyncOpenAI(
        base_url=base_url,
        api_key=api_key or "none",
        max_retries=0,
        timeout=timeout_seconds,
        http_client=DefaultAioHttpClient(),
    )


class OpenAITransport:
    """The openai package over its aiohttp client."""

    def __init__(self, base_url: str, api_key: str | None, timeout_seconds: float) -> None:
        self._openai = openai_client(base_url, api_key, timeout_seconds)

    async def post(self, path: str, body: Mapping[str, Any]) -> str:
        return await self._openai.post(path, cast_to=str, body=body)

    async def close(self) -> None:
        await self._openai.close()


class AioHttpTransport:
    """Plain aiohttp. The session is made at the first request, inside the event loop that it belongs to."""

    def __init__(self, base_url: str, api_key: str | None, timeout_seconds: float) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        self._timeout_seconds = timeout_seconds
        self._session: Any = None

    async def post(self, path: str, body: Mapping[str, Any]) -> str:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # the client's own slots limit it
                timeout=aiohttp.ClientTimeout(total=self._timeout_seconds),
                headers=self._headers,
            )
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        async with self._session.post(self._base_url + path, data=data) as response:
            text: str = await response.text(errors="replace")
            if response.status >= 400:
                raise StatusError(response.status, response.headers, text)
            return text

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def transport_named(name: TransportName, base_url: str, api_key: str | None, timeout_seconds: float) -> Transport:
    kinds: dict[str, type[OpenAITransport | AioHttpTransport]] = {"openai": OpenAITransport, "aiohttp": AioHttpTransport}
    return kinds[name](base_url, api_key, timeout_seconds)
