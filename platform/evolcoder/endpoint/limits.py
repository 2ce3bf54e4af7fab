"""Rates and a budget for a whole cluster, as pure bookkeeping: the caller brings the clock, and does the waiting.

Two token buckets hold requests and tokens to their limit in any minute (tokens overshoot by at most one request); dollars
are reserved at their upper bound before a request goes, and settled by what the server counted after, so that what is
spent and what could still be charged never exceed the budget together. ``limits_actor.py`` shares one ledger over Ray.
Concurrency needs no ledger: every worker holds a fixed share of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evolcoder.endpoint.client import Reply

_BURST_SHARE = 0.1
_ROUNDING = 1e-6
_OVERHEAD_TOKENS = 64
_OVERHEAD_TOKENS_PER_MESSAGE = 16
LONGEST_WAIT_SECONDS = 5.0
"""A worker asks again at least this often: outcomes and pauses of others may have changed the answer."""


@dataclass(frozen=True)
class Limits:
    """What may be used over the whole cluster; None is no limit. A budget needs both prices."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    budget_usd: float | None = None
    usd_per_million_input_tokens: float | None = None
    usd_per_million_output_tokens: float | None = None

    @property
    def any(self) -> bool:
        return not (self.requests_per_minute is self.tokens_per_minute is self.budget_usd is None)

    def usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What these tokens cost; 0 without prices."""
        prices = (self.usd_per_million_input_tokens or 0.0, self.usd_per_million_output_tokens or 0.0)
        return (prompt_tokens * prices[0] + completion_tokens * prices[1]) / 1e6


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one request: an upper bound before it is sent, or what it used."""

    prompt: int
    completion: int

    @property
    def total(self) -> int:
        return self.prompt + self.completion


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a granted request ended. ``used`` None: it cost nothing."""

    bound: Tokens
    used: Tokens | None


@dataclass(frozen=True, slots=True)
class Grant:
    """``granted`` of the wanted requests may go now; ask again for the rest after ``wait_seconds``.

    ``exhausted``: the next request would break the budget and none is on its way, so that waiting helps nothing.
    """

    granted: int
    wait_seconds: float
    exhausted: bool = False


class _Bucket:
    """Fills to ``capacity`` at a rate such that a full bucket and a minute's filling make the limit together."""

    def __init__(self, per_minute: float, now: float) -> None:
        self.capacity = max(1.0, per_minute * _BURST_SHARE)
        self._per_second = (per_minute - self.capacity if per_minute > self.capacity else per_minute) / 60
        self._level = self.capacity
        self._filled_at = now

    def missing_seconds(self, amount: float, now: float) -> float:
        """How long until ``amount`` may be taken. More than the capacity may be taken from a full bucket."""
        self._level = min(self.capacity, self._level + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        missing = min(amount, self.capacity) - self._level
        return missing / self._per_second if missing > _ROUNDING else 0.0

    def take(self, amount: float) -> None:
        self._level -= amount

    def put_back(self, amount: float) -> None:
        self._level = min(self.capacity, self._level + amount)


class Ledger:
    """One account for all workers. Times are seconds of one monotonic clock."""

    def __init__(self, limits: Limits, spent_usd: float, now: float) -> None:
        self.limits = limits
        self.spent_usd = spent_usd
        self.reserved_usd = 0.0
        self._requests = _Bucket(limits.requests_per_minute, now) if limits.requests_per_minute else None
        self._tokens = _Bucket(limits.tokens_per_minute, now) if limits.tokens_per_minute else None
        self._paused_until = now

    def pause(self, seconds: float, now: float) -> None:
        """The endpoint asked to send nothing for this long."""
        self._paused_until = max(self._paused_until, now + seconds)

    def grant(self, wanted: Sequence[Tokens], now: float) -> Grant:
        """Let as many of the wanted requests go, in their order, as the limits allow now."""
        for count, bound in enumerate(wanted):
            wait = self._missing_seconds(bound, now)
            if wait > 0:
                return Grant(count, min(wait, LONGEST_WAIT_SECONDS))
            if not self._affordable(bound):
                return Grant(count, LONGEST_WAIT_SECONDS / 10, exhausted=self.reserved_usd <= 0)
            self._take(bound)
        return Grant(len(wanted), 0.0)

    def settle(self, outcome: Outcome) -> None:
        """Replace what was reserved for a request by what it used."""
        self.reserved_usd = max(0.0, self.reserved_usd - self._usd(outcome.bound))
        if self.reserved_usd < 1e-12:
            self.reserved_usd = 0.0
        used = outcome.used or Tokens(0, 0)
        self.spent_usd += self._usd(used)
        if self._tokens is not None:
            self._tokens.put_back(outcome.bound.total - used.total)

    def _missing_seconds(self, bound: Tokens, now: float) -> float:
        wait = self._paused_until - now
        if self._requests is not None:
            wait = max(wait, self._requests.missing_seconds(1, now))
        if self._tokens is not None:
            wait = max(wait, self._tokens.missing_seconds(bound.total, now))
        return wait

    def _affordable(self, bound: Tokens) -> bool:
        budget = self.limits.budget_usd
        return budget is None or self.spent_usd + self.reserved_usd + self._usd(bound) <= budget

    def _take(self, bound: Tokens) -> None:
        self.reserved_usd += self._usd(bound)
        if self._requests is not None:
            self._requests.take(1)
        if self._tokens is not None:
            self._tokens.take(bound.total)

    def _usd(self, tokens: Tokens) -> float:
        return self.limits.usd(tokens.prompt, tokens.completion)


def upper_bound(body: Mapping[str, Any]) -> Tokens:
    """More tokens than a request can use: no byte of the prompt makes more than one, and chat templates add a few."""
    messages = body.get("messages")
    texts = [message["content"] for message in messages] if messages is not None else [body["prompt"]]
    prompt = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    overhead = _OVERHEAD_TOKENS + _OVERHEAD_TOKENS_PER_MESSAGE * len(texts)
    return Tokens(prompt + overhead, int(body["max_tokens"]))


def used_tokens(bound: Tokens, reply: Reply | None, maybe_billed: bool) -> Tokens | None:
    """What a request is counted as: the server's figures, the bound where it gave none, None where it cost nothing."""
    if reply is not None and reply.prompt_tokens + reply.completion_tokens > 0:
        return Tokens(reply.prompt_tokens, reply.completion_tokens)
    return bound if reply is not None or maybe_billed else None
