"""Rates and a budget for a whole cluster, as pure bookkeeping: the caller brings the clock, and does the waiting.

A teacher has one or several *doors*: an endpoint with a key. For each, two token buckets hold requests and tokens to their
limit in any minute (tokens overshoot by at most one request), and a rate that is learned from its 429s holds it to what it
takes; a request goes through the door that has most left. Dollars are reserved at their upper bound before a request goes,
and settled by what the server counted after, so that what is spent and what could still be charged never exceed the budget
together. ``limits_actor.py`` shares one ledger over Ray. Concurrency needs no ledger: every worker holds a fixed share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evolcoder.endpoint.requests import Reply

_BURST_SHARE = 0.1
_ROUNDING = 1e-6
_OVERHEAD_TOKENS = 64
_OVERHEAD_TOKENS_PER_MESSAGE = 16
LONGEST_WAIT_SECONDS = 5.0
"""A worker asks again at least this often: outcomes and pauses of others may have changed the answer."""
FREE_SECONDS = 1.0
"""So long a worker need not ask while nothing limits any door."""

_SLOWDOWN = 0.85
_RECOVERY_PER_SECOND = 0.14
_CUT_SECONDS = 2.0
_FORGET_SECONDS = 30.0
_SLOWEST_PER_SECOND = 2.0
_MEMORY_SECONDS = 5.0
_SHARE_OF_CHANCE = 0.1
"""Some servers refuse as many of the requests at any rate; going slower helps nothing there."""
_SHARE_THAT_TELLS = 0.15
_DEVIATIONS_THAT_TELL = 2.5
"""Standard deviations of the binomial distribution. Refusals come back first: of few requests, chance may refuse many."""
_FEW_REFUSALS = 5.0


@dataclass(frozen=True, slots=True)
class Rates:
    """What one door takes; None is no limit that is known."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True)
class Limits:
    """What may be used over the whole cluster; ``doors`` holds one entry a door. A budget needs both prices."""

    doors: tuple[Rates, ...] = (Rates(),)
    budget_usd: float | None = None
    usd_per_million_input_tokens: float | None = None
    usd_per_million_output_tokens: float | None = None

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

    door: int
    bound: Tokens
    used: Tokens | None


@dataclass(frozen=True, slots=True)
class Pause:
    """A door must not be used for so long from now on. ``rate_limited``: it said that requests come too fast."""

    door: int
    seconds: float
    rate_limited: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker has learned since it last asked. ``replies``: their number by door. ``closed``: doors out of use."""

    outcomes: Sequence[Outcome] = ()
    replies: Mapping[int, int] | None = None
    pauses: Sequence[Pause] = ()
    closed: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Grant:
    """The first ``len(doors)`` of the wanted requests may go now, each through its door.

    ``wait_seconds``: ask again for the rest after so long. ``exhausted``: the next request would break the budget and none
    is on its way, so that waiting helps nothing. ``free``: until ``wait_seconds`` from now, any number may go through the
    doors named here without asking.
    """

    doors: tuple[int, ...]
    wait_seconds: float
    exhausted: bool = False
    free: tuple[int, ...] = ()


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

    @property
    def share_left(self) -> float:
        return self._level / self.capacity

    def take(self, amount: float) -> None:
        self._level -= amount

    def put_back(self, amount: float) -> None:
        self._level = min(self.capacity, self._level + amount)


class _LearnedRate:
    """What a door takes, learned from its 429s: cut to a little below what went through, then growing until too many come.

    Nothing is known (``holds`` is false) before the first 429, and again when the last was long ago.
    """

    def __init__(self, now: float) -> None:
        self._through = self._refusals = 0.0  # replies and 429s, each counting less as it grows old
        self._counted_at = self._counted_from = now
        self._per_second = 0.0
        self._level = 0.0
        self._filled_at = self._cut_at = now
        self.holds = False

    def replied(self, count: int, now: float) -> None:
        self._age(now)
        self._through += count

    def refused(self, resume_at: float, now: float) -> None:
        """A request was refused for coming too fast; one cut stands for all that were on their way with it."""
        self._age(now)
        self._refusals += 1
        if self._by_chance() or (self.holds and now < self._cut_at + _CUT_SECONDS):
            return
        self._per_second = max(_SLOWEST_PER_SECOND, _SLOWDOWN * self._through / self._remembered_seconds(now))
        self._cut_at = self._filled_at = max(now, resume_at)
        self._level = 0.0
        self.holds = True

    def missing_seconds(self, now: float) -> float:
        """How long until one request may go."""
        if self.holds and now > self._cut_at + _FORGET_SECONDS:
            self.holds = False
        if not self.holds:
            return 0.0
        if now > self._filled_at:
            rate = self._per_second * math.exp(_RECOVERY_PER_SECOND * (now - self._cut_at))
            self._level = min(max(1.0, rate / 2), self._level + (now - self._filled_at) * rate)
            self._filled_at = now
        return max(0.0, 1.0 - self._level) / self._per_second if self._level < 1.0 - _ROUNDING else 0.0

    def take(self) -> None:
        self._level -= 1.0

    def _by_chance(self) -> bool:
        requests = self._refusals + self._through
        deviation = math.sqrt(requests * _SHARE_OF_CHANCE * (1 - _SHARE_OF_CHANCE))
        expected = _SHARE_OF_CHANCE * requests + _DEVIATIONS_THAT_TELL * deviation
        return self._refusals <= max(_FEW_REFUSALS, _SHARE_THAT_TELLS * requests, expected)

    def _remembered_seconds(self, now: float) -> float:
        """The time over which replies at an even rate make up what is counted of them."""
        return max(1.0, _MEMORY_SECONDS * -math.expm1((self._counted_from - now) / _MEMORY_SECONDS))

    def _age(self, now: float) -> None:
        if self._through == self._refusals == 0:
            self._counted_at = self._counted_from = now
        fading = math.exp((self._counted_at - now) / _MEMORY_SECONDS)
        self._through, self._refusals = self._through * fading, self._refusals * fading
        self._counted_at = now


class _Door:
    """One door's account."""

    def __init__(self, rates: Rates, now: float) -> None:
        self._requests = _Bucket(rates.requests_per_minute, now) if rates.requests_per_minute else None
        self._tokens = _Bucket(rates.tokens_per_minute, now) if rates.tokens_per_minute else None
        self.learned = _LearnedRate(now)
        self.paused_until = now
        self.closed = False
        self._in_flight = 0

    def missing_seconds(self, bound: Tokens, now: float) -> float:
        wait = max(self.paused_until - now, self.learned.missing_seconds(now))
        if self._requests is not None:
            wait = max(wait, self._requests.missing_seconds(1, now))
        if self._tokens is not None:
            wait = max(wait, self._tokens.missing_seconds(bound.total, now))
        return wait

    @property
    def left(self) -> tuple[float, int]:
        """Orders doors: the greatest share of its limits that is left, then the fewest requests on their way."""
        buckets = [bucket.share_left for bucket in (self._requests, self._tokens) if bucket is not None]
        return min(buckets, default=1.0), -self._in_flight

    def free(self, now: float) -> bool:
        """Whether nothing limits it, as far as is known."""
        return self._requests is self._tokens is None and not self.learned.holds and self.paused_until <= now

    def take(self, bound: Tokens) -> None:
        self._in_flight += 1
        if self._requests is not None:
            self._requests.take(1)
        if self._tokens is not None:
            self._tokens.take(bound.total)
        if self.learned.holds:
            self.learned.take()

    def settle(self, outcome: Outcome) -> None:
        self._in_flight = max(0, self._in_flight - 1)
        if self._tokens is not None:
            self._tokens.put_back(outcome.bound.total - (outcome.used.total if outcome.used else 0))


class Ledger:
    """One account for all workers. Times are seconds of one monotonic clock."""

    def __init__(self, limits: Limits, spent_usd: float, now: float) -> None:
        self.limits = limits
        self.spent_usd = spent_usd
        self.reserved_usd = 0.0
        self._doors = [_Door(rates, now) for rates in limits.doors]

    def take_in(self, report: Report, now: float) -> None:
        """Learn what a worker has learned."""
        for outcome in report.outcomes:
            self._settle(outcome)
        for number, count in (report.replies or {}).items():
            self._doors[number].learned.replied(count, now)
        for pause in report.pauses:
            door = self._doors[pause.door]
            door.paused_until = max(door.paused_until, now + pause.seconds)
            if pause.rate_limited:
                door.learned.refused(door.paused_until, now)
        for number in report.closed:
            self._doors[number].closed = True

    def grant(self, wanted: Sequence[Tokens], now: float) -> Grant:
        """Let as many of the wanted requests go, in their order, as the limits allow now."""
        chosen: list[int] = []
        for bound in wanted:
            waits = {number: door.missing_seconds(bound, now) for number, door in enumerate(self._doors) if not door.closed}
            open_now = [number for number, wait in waits.items() if wait <= 0]
            if not open_now:
                return Grant(tuple(chosen), min([LONGEST_WAIT_SECONDS, *waits.values()]))
            if not self._affordable(bound):
                return Grant(tuple(chosen), LONGEST_WAIT_SECONDS / 10, exhausted=self.reserved_usd <= 0)
            chosen.append(max(open_now, key=lambda number: self._doors[number].left))
            self._doors[chosen[-1]].take(bound)
            self.reserved_usd += self._usd(bound)
        return self._with_freedom(tuple(chosen), now)

    def _with_freedom(self, chosen: tuple[int, ...], now: float) -> Grant:
        usable = [number for number, door in enumerate(self._doors) if not door.closed]
        free = self.limits.budget_usd is None and all(self._doors[number].free(now) for number in usable)
        return Grant(chosen, FREE_SECONDS if free else 0.0, free=tuple(usable) if free else ())

    def _settle(self, outcome: Outcome) -> None:
        """Replace what was reserved for a request by what it used."""
        self.reserved_usd = max(0.0, self.reserved_usd - self._usd(outcome.bound))
        if self.reserved_usd < 1e-12:
            self.reserved_usd = 0.0
        self.spent_usd += self._usd(outcome.used or Tokens(0, 0))
        self._doors[outcome.door].settle(outcome)

    def _affordable(self, bound: Tokens) -> bool:
        budget = self.limits.budget_usd
        return budget is None or self.spent_usd + self.reserved_usd + self._usd(bound) <= budget

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
