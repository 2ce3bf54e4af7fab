"""Rates and a budget for a whole cluster, as pure bookkeeping: the caller brings the clock, and does the waiting.

A teacher has one or several endpoints. For each, two token buckets hold requests and tokens to their limit in any minute
(tokens overshoot by at most one request), and a rate that is learned from its 429s holds it to what it takes; a request goes
to the endpoint that has most left. Dollars are reserved at their upper bound before a request goes and settled by what the
server counted, so that what is spent and what could still be charged never exceed the budget together.
``shared_limiter.py`` shares one ledger over Ray. Concurrency needs no ledger: every worker holds a fixed share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from evolcoder.endpoint.requests import TeacherReply

_BURST_SHARE = 0.1
"""Of a minute's limit, what may go at once; a full bucket and a minute's filling together are the limit."""
_ROUNDING = 1e-6
"""Waiting as long as a bucket says must fill it, whatever floating point makes of the sum."""
# Chat templates add tokens of their own, around the whole and around each message.
_OVERHEAD_TOKENS = 64
_OVERHEAD_TOKENS_PER_MESSAGE = 16
LONGEST_WAIT_SECONDS = 5.0
"""A worker asks again at least this often: outcomes and pauses of others may have changed the answer."""
FREE_SECONDS = 1.0
"""So long a worker need not ask while nothing limits any endpoint."""

# The learned rate. Too large a decrease, or too slow an increase, leaves an endpoint idle; too fast an increase is refused.
_DECREASE = 0.75
_INCREASE_PER_SECOND = 0.1
"""Of the rate after the last cut."""
_CUT_SECONDS = 2.0
_FORGET_SECONDS = 30.0
_SLOWEST_PER_SECOND = 2.0
_WINDOW_SECONDS = 5.0
# Some servers refuse one request in ten at any rate, and going slower would help nothing there: a cut needs a larger share.
# The allowance on top keeps chance among the first few requests of a window from cutting (3.5 standard deviations or more at
# a share of 0.1), also because a refusal comes back sooner than a reply.
_REFUSED_SHARE = 0.15
_REFUSALS_OF_CHANCE = 5


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What one endpoint takes; None is no limit that is known."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True)
class TeacherLimits:
    """What may be used over the whole cluster; ``endpoints`` holds one entry for each. A budget needs both prices."""

    endpoints: tuple[RateLimits, ...] = (RateLimits(),)
    budget_usd: float | None = None
    usd_per_million_input_tokens: float | None = None
    usd_per_million_output_tokens: float | None = None

    def usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What these tokens cost; 0 without prices."""
        prices = (self.usd_per_million_input_tokens or 0.0, self.usd_per_million_output_tokens or 0.0)
        return (prompt_tokens * prices[0] + completion_tokens * prices[1]) / 1e6


class Tokens(NamedTuple):
    """Tokens of one request: an upper bound before it is sent, or what it used."""

    prompt: int
    completion: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a granted request ended. ``used`` None: it cost nothing."""

    endpoint: int
    bound: Tokens
    used: Tokens | None


@dataclass(frozen=True, slots=True)
class Pause:
    """An endpoint must not be used for so long from now on. ``rate_limited``: it said that requests come too fast."""

    endpoint: int
    seconds: float
    rate_limited: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker has learned since it last asked. ``replies``: their number by endpoint. ``closed``: why, for each
    endpoint that is out of use.
    """

    outcomes: Sequence[Outcome] = ()
    replies: Mapping[int, int] = field(default_factory=dict)
    pauses: Sequence[Pause] = ()
    closed: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grant:
    """The first ``len(endpoints)`` of the wanted requests may go now, each through its endpoint.

    ``wait_seconds``: ask again for the rest after so long. ``exhausted``: the next request would break the budget and none
    is on its way, so that waiting helps nothing. ``free``: until ``wait_seconds`` from now, any number may go through the
    endpoints named here without asking. ``closed``: no endpoint is left, and this says why the last one went; a worker that
    waits cannot find out by itself.
    """

    endpoints: tuple[int, ...]
    wait_seconds: float
    exhausted: bool = False
    free: tuple[int, ...] = ()
    closed: str | None = None


class _Bucket:
    """Fills to ``capacity`` at a rate such that a full bucket and a minute's filling make the limit together."""

    def __init__(self, per_minute: float, now: float) -> None:
        self.capacity = max(1.0, per_minute * _BURST_SHARE)
        self._per_second = (per_minute - self.capacity if per_minute > self.capacity else per_minute) / 60
        self.level = self.capacity
        self._filled_at = now

    def missing_seconds(self, amount: float, now: float) -> float:
        """How long until ``amount`` may be taken. More than the capacity may be taken from a full bucket."""
        self.level = min(self.capacity, self.level + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        missing = min(amount, self.capacity) - self.level
        return missing / self._per_second if missing > _ROUNDING else 0.0

    def take(self, amount: float) -> None:
        """A negative amount is put back."""
        self.level = min(self.capacity, self.level - amount)


class _LearnedRate:
    """What an endpoint takes, learned from its 429s by additive increase and multiplicative decrease.

    Too many 429s cut the rate to a little below what went through lately; from then on it grows linearly. Nothing limits
    (``holds`` is false) before the first cut, and again when the last one was long ago.
    """

    def __init__(self, now: float) -> None:
        self._window_start = now
        self._replies = self._refusals = 0  # in the current window
        self._last_per_second = 0.0  # what went through in the window before
        self._cut_per_second = 0.0
        self.level = 0.0  # how many requests may go now; the caller takes them off
        self._filled_at = self._cut_at = now
        self.holds = False

    def replied(self, count: int, now: float) -> None:
        self._roll(now)
        self._replies += count

    def refused(self, resume_at: float, now: float) -> None:
        """A request was refused for coming too fast."""
        self._roll(now)
        self._refusals += 1
        if self._refusals <= _REFUSALS_OF_CHANCE + _REFUSED_SHARE * (self._refusals + self._replies):
            return
        # Everything in flight is refused together: one cut stands for all of it.
        if self.holds and now < self._cut_at + _CUT_SECONDS:
            return
        this_per_second = self._replies / max(1.0, now - self._window_start)
        self._cut_per_second = max(_SLOWEST_PER_SECOND, _DECREASE * max(this_per_second, self._last_per_second))
        self._cut_at = self._filled_at = max(now, resume_at)
        self.level = 0.0
        self.holds = True

    def missing_seconds(self, now: float) -> float:
        """How long until one request may go."""
        if self.holds and now > self._cut_at + _FORGET_SECONDS:
            self.holds = False
        if not self.holds:
            return 0.0
        if now > self._filled_at:
            rate = self._cut_per_second * (1 + _INCREASE_PER_SECOND * (now - self._cut_at))
            # At most half a second's worth is saved up, so that a pause does not end in a burst that is refused again.
            self.level = min(max(1.0, rate / 2), self.level + (now - self._filled_at) * rate)
            self._filled_at = now
        return max(0.0, 1.0 - self.level) / self._cut_per_second if self.level < 1.0 - _ROUNDING else 0.0

    def _roll(self, now: float) -> None:
        """Begin a new window when the current one is over, or holds nothing yet."""
        elapsed = now - self._window_start
        if self._replies == self._refusals == 0 or elapsed >= _WINDOW_SECONDS:
            self._last_per_second = self._replies / max(1.0, elapsed)
            self._window_start = now
            self._replies = self._refusals = 0


class _EndpointLimits:
    """What one endpoint takes now."""

    def __init__(self, rates: RateLimits, now: float) -> None:
        limits = {"requests": rates.requests_per_minute, "tokens": rates.tokens_per_minute}
        self._buckets = {what: _Bucket(limit, now) for what, limit in limits.items() if limit}
        self.learned = _LearnedRate(now)
        self.paused_until = now
        self.closed = False
        self._in_flight = 0

    def missing_seconds(self, bound: Tokens, now: float) -> float:
        amounts = {"requests": 1, "tokens": sum(bound)}
        waits = [bucket.missing_seconds(amounts[what], now) for what, bucket in self._buckets.items()]
        return max(self.paused_until - now, self.learned.missing_seconds(now), *waits)

    @property
    def left(self) -> tuple[float, int]:
        """Orders endpoints: the greatest share of its limits that is left, then the fewest requests on their way."""
        return min((bucket.level / bucket.capacity for bucket in self._buckets.values()), default=1.0), -self._in_flight

    def free(self, now: float) -> bool:
        """Whether nothing limits it, as far as is known."""
        return not self._buckets and not self.learned.holds and self.paused_until <= now

    def take(self, bound: Tokens) -> None:
        self._in_flight += 1
        for what, bucket in self._buckets.items():
            bucket.take(1 if what == "requests" else sum(bound))
        if self.learned.holds:
            self.learned.level -= 1.0

    def release(self, outcome: Outcome) -> None:
        self._in_flight = max(0, self._in_flight - 1)
        if "tokens" in self._buckets:
            self._buckets["tokens"].take(sum(outcome.used or (0,)) - sum(outcome.bound))


class Ledger:
    """What all workers together may still use. Times are seconds of one monotonic clock."""

    def __init__(self, limits: TeacherLimits, spent_usd: float, now: float) -> None:
        self.limits = limits
        self.spent_usd = spent_usd
        self.reserved_usd = 0.0
        self._endpoints = [_EndpointLimits(rates, now) for rates in limits.endpoints]
        self._closed_reason = ""

    def take_in(self, report: Report, now: float) -> None:
        """Learn what a worker has learned; what was reserved for a request is replaced by what it used."""
        for outcome in report.outcomes:
            self.reserved_usd -= self.limits.usd(*outcome.bound)
            if self.reserved_usd < 1e-12:  # rounding: `exhausted` needs a true zero when nothing is on its way
                self.reserved_usd = 0.0
            if outcome.used is not None:
                self.spent_usd += self.limits.usd(*outcome.used)
            self._endpoints[outcome.endpoint].release(outcome)
        for number, count in report.replies.items():
            self._endpoints[number].learned.replied(count, now)
        for pause in report.pauses:
            endpoint = self._endpoints[pause.endpoint]
            endpoint.paused_until = max(endpoint.paused_until, now + pause.seconds)
            if pause.rate_limited:
                endpoint.learned.refused(endpoint.paused_until, now)
        for number, reason in report.closed.items():
            self._endpoints[number].closed = True
            self._closed_reason = reason

    def grant(self, wanted: Sequence[Tokens], now: float) -> Grant:
        """Let as many of the wanted requests go, in their order, as the limits allow now."""
        usable = {number: one for number, one in enumerate(self._endpoints) if not one.closed}
        if not usable:
            return Grant((), LONGEST_WAIT_SECONDS, closed=self._closed_reason)
        budget = self.limits.budget_usd
        chosen: list[int] = []
        for bound in wanted:
            waits = {number: one.missing_seconds(bound, now) for number, one in usable.items()}
            open_now = [number for number, wait in waits.items() if wait <= 0]
            if not open_now:
                return Grant(tuple(chosen), min(LONGEST_WAIT_SECONDS, *waits.values()))
            usd = self.limits.usd(*bound)
            if budget is not None and self.spent_usd + self.reserved_usd + usd > budget:
                return Grant(tuple(chosen), LONGEST_WAIT_SECONDS / 10, exhausted=self.reserved_usd <= 0)
            chosen.append(max(open_now, key=lambda number: usable[number].left))
            usable[chosen[-1]].take(bound)
            self.reserved_usd += usd
        free = budget is None and all(one.free(now) for one in usable.values())
        return Grant(tuple(chosen), FREE_SECONDS if free else 0.0, free=tuple(usable) if free else ())


def upper_bound(body: Mapping[str, Any]) -> Tokens:
    """More tokens than a request can use: no byte of the prompt makes more than one, and chat templates add a few."""
    texts = [message["content"] for message in body["messages"]] if "messages" in body else [body["prompt"]]
    prompt = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    overhead = _OVERHEAD_TOKENS + _OVERHEAD_TOKENS_PER_MESSAGE * len(texts)
    return Tokens(prompt + overhead, int(body["max_tokens"]))


def used_tokens(bound: Tokens, reply: TeacherReply | None, maybe_billed: bool) -> Tokens | None:
    """What a request is counted as: the server's figures, the bound where it gave none, None where it cost nothing."""
    if reply is not None and reply.prompt_tokens + reply.completion_tokens > 0:
        return Tokens(reply.prompt_tokens, reply.completion_tokens)
    return bound if reply is not None or maybe_billed else None
