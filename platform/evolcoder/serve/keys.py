"""API keys, and on which hosts an endpoint may go without them. Pure apart from reading the key file."""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from evolcoder.errors import SettingsError
from evolcoder.serve.protocol import RequestError
from evolcoder.settings.run import ServeSettings


def keys_for(settings: ServeSettings) -> tuple[str, ...]:
    """The keys that requests must carry one of; none are needed on loopback.

    The key file has one key a line; blank lines and lines that begin with # are skipped.

    Raises:
        SettingsError: other machines could reach the endpoint without a key, or the key file is unusable.
    """
    path = settings.api_key_file
    if path is None:
        loopback = settings.host == "localhost"
        with contextlib.suppress(ValueError):  # another name than localhost may lead anywhere
            loopback = loopback or ipaddress.ip_address(settings.host).is_loopback
        if loopback:
            return ()
        raise SettingsError(
            f"serve.host={settings.host} lets other machines in: set serve.api_key_file to a file with one key a line, "
            "or serve.host to 127.0.0.1."
        )
    try:
        lines = Path(path).expanduser().read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise SettingsError(f"serve.api_key_file={path} cannot be read ({reason}); write one key a line into it.") from None
    keys = tuple(line.strip() for line in lines if line.strip() and not line.strip().startswith("#"))
    if not keys:
        raise SettingsError(f"serve.api_key_file={path} holds no key; write one key a line into it.")
    return keys


def check_key(authorization: str | None, keys: Sequence[str]) -> None:
    """Check a request's ``Authorization`` header. All keys are compared, in constant time, so that timing tells nothing.

    Raises:
        RequestError: status 401; the header holds none of the keys.
    """
    if not keys:
        return
    scheme, _, given = (authorization or "").partition(" ")
    matches = [hmac.compare_digest(given.strip().encode(), key.encode()) for key in keys]
    if scheme.lower() == "bearer" and any(matches):
        return
    raise RequestError(
        "Incorrect API key provided; send `Authorization: Bearer KEY`."
        if authorization
        else "You didn't provide an API key; send `Authorization: Bearer KEY`.",
        status=401,
        code="invalid_api_key",
    )
