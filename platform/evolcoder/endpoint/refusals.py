"""What an endpoint's error stands for: a limit, a fault that passes, a refusal of this request, or one of every request.

Servers say the same in many ways: in the status, in a code, in words, in an error inside a reply with status 200. All of
them are read here, and nothing is sent. Pure.
"""

from __future__ import annotations

import contextlib
import email.utils
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evolcoder.endpoint.requests import Endpoint, RequestFailed
from evolcoder.errors import EndpointError
from evolcoder.text.encodable import encodable_text

LONGEST_RETRY_AFTER_SECONDS = 600.0
_MESSAGE_CHARACTERS = 200

# Each list was put together from what servers are known to say; a sentence that is in none is a refusal without a name.
_FILTERED = re.compile(
    r"content[ _-]?(?:filter|policy|management|moderation|violation)|(?:usage|safety|acceptable use) polic"
    r"|polic\w+[ _-]?violation|responsible ?ai|moderation|data_?inspection|safety system|inappropriate content"
    r"|sensitive (?:words|content|information)|flagged|prohibited (?:use|content)|prompt.{0,20}(?:blocked|rejected)"
    r"|new_sensitive|\bunsafe\b|invalid_prompt",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context[ _-]?(?:length|window|size)|(?:prompt|input|request|message|content)s?\W+(?:is |are |was )?too (?:long|large)"
    r"|string_above_max_length|request_too_large|max\w* (?:input|prompt|model|sequence|number of input)[ _]?(?:length|tokens)"
    r"|max_model_len|too many (?:input )?tokens|input token count|reduce the length|range of input length|prompt_too_long"
    r"|inputs?`? tokens? \+",
    re.IGNORECASE,
)
_BAD_REQUEST = re.compile(r"invalid|bad ?request", re.IGNORECASE)
_LIMITED = re.compile(
    r"rate[ _-]?limit|too many requests|throttl|concurrency limit|requests per (?:minute|second|day)", re.IGNORECASE
)
_NO_QUOTA = re.compile(r"insufficient_quota|insufficient (?:balance|credits?|funds)|billing_hard_limit", re.IGNORECASE)
_BAD_KEY = re.compile(
    r"(?:invalid|incorrect|missing|expired) api[ _]key|api[ _]key (?:not valid|expired)|authenticat|unauthori[sz]ed",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(
    r"unsupported|not supported|n[o']t support|unrecognized|unknown (?:name|field|parameter|argument)|not permitted"
    r"|extra_forbidden|unexpected keyword",
    re.IGNORECASE,
)
_WRONG = re.compile(
    r"only supports?|not allowed|only .{1,20} (?:is|are) allowed|too large|at most|must be|should be|please enable|deprecated"
    r"|cannot both|out of range|invalid_value|less than|greater than",
    re.IGNORECASE,
)
_STATUS_OF_WORDS = (
    (_NO_QUOTA, 402), (_LIMITED, 429), (_BAD_KEY, 401),
    (_FILTERED, 400), (_TOO_LONG, 400), (_UNKNOWN, 400), (_BAD_REQUEST, 400),
)  # fmt: skip
"""For an error inside a reply that names no status; the first that is found counts."""
_FIELDS = ("max_completion_tokens", "max_tokens", "temperature", "top_p", "stream_options")
_NAMED = re.compile(
    r"[`'\"](\w+)[`'\"]|(?:supplied|parameter|argument|property|field|name):? (\w+)|(\w+) (?:parameter|mode|argument|field)"
)
"""How a field is named that is a mere word otherwise, such as ``stop``."""


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What an error says, whatever its shape. ``code`` and ``kind`` are words or numbers of the server's own.

    ``inner`` is what a server in between says of the one behind it.
    """

    message: str
    code: str = ""
    kind: str = ""
    parameter: str = ""
    inner: str = ""


def error_body(body: object) -> ErrorBody:
    """The error in a reply's text or decoded JSON."""
    if isinstance(body, str):
        with contextlib.suppress(ValueError):
            body = json.loads(body)
    if isinstance(body, list):
        body = next((item for item in body if isinstance(item, Mapping)), None)
    error: Any = body
    for name in ("error", "errors", "base_resp"):
        if isinstance(error, Mapping) and error.get(name):
            error = error[name]
    if isinstance(error, list):
        error = error[0] if error else None
    if not isinstance(error, Mapping):
        return ErrorBody(short_line(error or "no reason given"))
    detail = error.get("detail")
    if isinstance(detail, list) and detail and isinstance(detail[0], Mapping):  # FastAPI's: where, and what is wrong there
        place = detail[0].get("loc")
        parameter = str(place[-1]) if isinstance(place, list) and place else ""
        return ErrorBody(short_line(f"{parameter}: {detail[0].get('msg')}"), str(detail[0].get("type")), "", parameter)
    said = next((error[key] for key in ("message", "msg", "status_msg", "detail") if error.get(key)), json.dumps(body))
    code = next((error[key] for key in ("code", "status_code", "statusCode", "status") if error.get(key)), "")
    inner = json.dumps([error[key] for key in ("innererror", "metadata", "details") if error.get(key)])
    return ErrorBody(short_line(said), str(code), str(error.get("type") or ""), str(error.get("param") or ""), inner)


def failure_of_status(status: int, headers: Mapping[str, str], body: object, endpoint: Endpoint) -> RequestFailed:
    """What an HTTP status of 400 or more stands for; ``body`` is decoded JSON, or text."""
    error = error_body(body)
    kinds, message = f"{error.code} {error.kind}", f"{status} {error.message}"
    words = f"{kinds} {error.message}"
    if status == 402 or (status == 429 and _NO_QUOTA.search(words)):
        return _closed(
            f"The account at {endpoint.base_url} has no quota left ({error.message}); add credit, then run this again."
        )
    if status == 413 or (status == 429 and "request too large" in error.message.lower()):  # larger than a minute's limit
        return RequestFailed("too_long", message, retryable=False)
    if status == 429 or (status in (400, 403) and _LIMITED.search(kinds)):
        wait = retry_after_seconds(headers, time.time())
        asked = re.search(r"(?:again|retry) in (\d+(?:\.\d+)?)(m?s)\b", error.message)
        if wait is None and asked:
            wait = min(float(asked[1]) / (1000 if asked[2] == "ms" else 1), LONGEST_RETRY_AFTER_SECONDS)
        return RequestFailed("rate_limited", message, retry_after_seconds=wait)
    if status in (408, 409, 425) or status >= 500:
        return RequestFailed("server_error", message)
    refusal = _refusal_of_all(status, error, words, endpoint)
    if refusal is not None:
        return _closed(refusal)
    if _TOO_LONG.search(words):
        return RequestFailed("too_long", message, retryable=False)
    if _FILTERED.search(words) or _FILTERED.search(error.inner) or status == 451:
        return RequestFailed("refused", message, retryable=False)
    if status == 403:
        return _closed(f"The endpoint {endpoint.base_url} forbids this ({message}); use a key that may use {endpoint.model}.")
    advice = _setting_to_change(error, endpoint)
    if advice is not None:
        return _closed(f"The endpoint {endpoint.base_url} refuses what it is sent ({message}); {advice}.")
    return RequestFailed("rejected", message, retryable=False)


def _refusal_of_all(status: int, error: ErrorBody, words: str, endpoint: Endpoint) -> str | None:
    """The sentence for what every request would meet, whatever is in it."""
    said, base_url = f"({status}: {error.message})", endpoint.base_url
    if status == 401 or (status in (400, 403) and _BAD_KEY.search(words)):
        return f"The endpoint {base_url} refuses the API key {said}; set the variable that holds it."
    if (status == 404 and not _FILTERED.search(words)) or error.code == "model_not_found":
        model = f"the model {endpoint.model!r}"
        return f"The endpoint {base_url} does not know {model}, or has no such address {said}; correct either."
    context = re.search(r"context (?:length|window|size)\D{0,20}(\d+)", error.message)
    reply = re.search(r"too large: (\d+)|(\d+) (?:tokens )?(?:in|for) the completion", error.message)
    if context and reply and int(reply[1] or reply[2]) >= int(context[1]):  # no prompt fits beside it
        return f"The endpoint {base_url} refuses what it is sent {said}; lower {endpoint.settings_section}.max_tokens."
    return None


def failure_in_reply(body: Mapping[str, Any], endpoint: Endpoint) -> RequestFailed:
    """What an error inside a reply with status 200 stands for: what it would be with a status of its own."""
    error = error_body(body)
    words = f"{error.code} {error.kind} {error.message}"
    if error.code.isdecimal() and 400 <= int(error.code) <= 599:
        status = int(error.code)
    else:
        status = next((status for pattern, status in _STATUS_OF_WORDS if pattern.search(words)), 502)
    return failure_of_status(status, {}, body, endpoint)


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait as the reply's headers ask (``retry-after-ms``, or ``retry-after`` as seconds or a date).

    Args:
        now: seconds since the epoch, against which a date counts.
    """
    milliseconds, after = headers.get("retry-after-ms"), headers.get("retry-after", "").strip()
    try:
        if milliseconds is not None:
            seconds = float(milliseconds) / 1000
        elif after[:1].isalpha():
            seconds = email.utils.parsedate_to_datetime(after).timestamp() - now
        else:
            seconds = float(after)
    except ValueError:
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS) if seconds == seconds else None  # NaN is no answer


def _closed(sentence: str) -> RequestFailed:
    return RequestFailed("closed", sentence, endpoint_error=EndpointError(sentence))


def short_line(said: object) -> str:
    """What a server said, as a part of one of our sentences."""
    return encodable_text(" ".join(str(said).split())[:_MESSAGE_CHARACTERS])[0]


def _setting_to_change(error: ErrorBody, endpoint: Endpoint) -> str | None:
    """What to change where a field that every request has is refused; None where the error names no such field."""
    words = f"{error.code} {error.message}"
    if not _UNKNOWN.search(words) and not _WRONG.search(words):
        return None
    named = [word for words in _NAMED.findall(error.message) for word in words if word in ("stream", "seed", "stop")]
    named += [word for word in re.findall(r"\w+", error.message) if word in _FIELDS]
    field = error.parameter or next(iter(named), "")
    section = endpoint.settings_section
    if field in ("max_tokens", "max_completion_tokens"):
        if re.search(r"too large|at most|less than|context|exceed|must be|range", error.message):
            return f"lower {section}.max_tokens"
        other = "max_tokens" if endpoint.max_tokens_field != "max_tokens" else "max_completion_tokens"
        return f"set teacher.max_tokens_field={other}"
    if field == "stream":
        return f"set teacher.stream={'false' if endpoint.stream else 'true'}"
    if field in ("temperature", "top_p"):
        instead = f", or {section}.{field}=null to leave it out" if section == "teacher" else ""
        return f"set {section}.{field} to what the model takes{instead}"
    if field in ("", "messages", "prompt", "model", "input") or not field.isidentifier() or not _UNKNOWN.search(words):
        return None
    return f"set teacher.extra_body.{field}=null to leave it out"
