"""The ledger under any history: no minute over its limits, no dollar over the budget."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from evolcoder.endpoint.limits.ledger import (
    FREE_SECONDS,
    Ledger,
    Outcome,
    Pause,
    RateLimits,
    Report,
    TeacherLimits,
    Tokens,
    upper_bound,
    used_tokens,
)
from evolcoder.endpoint.requests import TeacherReply

PRICES = {"usd_per_million_input_tokens": 1.0, "usd_per_million_output_tokens": 2.0}

_request = st.tuples(st.integers(1, 3000), st.integers(1, 3000), st.floats(0, 1))


@given(st.lists(_request, max_size=60), st.integers(1, 40_000), st.integers(1, 8))
def test_what_is_spent_and_reserved_never_exceeds_the_budget(
    requests: list[tuple[int, int, float]], budget_millionths: int, in_flight: int
) -> None:
    budget = budget_millionths / 1e6
    ledger = Ledger(TeacherLimits(budget_usd=budget, **PRICES), spent_usd=0.0, now=0.0)
    flying: list[tuple[Tokens, float]] = []
    for prompt, completion, share in requests:
        bound = Tokens(prompt, completion)
        grant = ledger.grant([bound], now=0.0)
        if grant.endpoints:
            flying.append((bound, share))
        assert ledger.spent_usd + ledger.reserved_usd <= budget + 1e-12
        if len(flying) >= in_flight:
            sent, used = flying.pop(0)
            ledger.take_in(Report([Outcome(0, sent, Tokens(int(sent.prompt * used), int(sent.completion * used)))]), 0.0)
        assert ledger.spent_usd + ledger.reserved_usd <= budget + 1e-12
        assert not (grant.exhausted and flying), "it must wait while the outcome of some request may free money"


@given(st.integers(1, 300), st.lists(st.floats(0, 20), min_size=1, max_size=150))
def test_no_minute_holds_more_requests_than_allowed(per_minute: int, pauses: list[float]) -> None:
    ledger = Ledger(TeacherLimits((RateLimits(per_minute),)), 0.0, now=0.0)
    now, sent = 0.0, []
    for pause in pauses:
        now += pause
        grant = ledger.grant([Tokens(1, 1)] * 10, now)
        sent += [now] * len(grant.endpoints)
    allowed = max(per_minute, 2)
    for start in sent:
        assert sum(start <= at < start + 60 for at in sent) <= allowed + 1


def test_waiting_as_long_as_it_says_is_enough() -> None:
    ledger = Ledger(TeacherLimits((RateLimits(30, 1000),)), 0.0, now=0.0)
    now, granted = 0.0, 0
    for _ in range(500):
        grant = ledger.grant([Tokens(300, 200)], now)
        granted += len(grant.endpoints)
        if grant.endpoints:
            ledger.take_in(Report([Outcome(0, Tokens(300, 200), Tokens(100, 100))]), now)
        now += grant.wait_seconds
        if granted == 10:
            break
    assert granted == 10
    assert 60 <= now <= 400


def test_a_pause_holds_for_all() -> None:
    ledger = Ledger(TeacherLimits((RateLimits(1000),)), 0.0, now=0.0)
    ledger.take_in(Report(pauses=[Pause(0, 3.0, False)]), now=1.0)
    assert ledger.grant([Tokens(1, 1)], now=3.5).endpoints == ()
    assert ledger.grant([Tokens(1, 1)], now=4.0).endpoints == (0,)


def test_exhausted_only_when_nothing_is_on_its_way() -> None:
    ledger = Ledger(TeacherLimits(budget_usd=3e-6, **PRICES), 0.0, now=0.0)
    bound = Tokens(1, 1)
    first, second = ledger.grant([bound, bound], 0.0), ledger.grant([bound], 0.0)
    assert (first.endpoints, first.exhausted) == ((0,), False)
    assert (second.endpoints, second.exhausted) == ((), False)
    ledger.take_in(Report([Outcome(0, bound, bound)]), 0.0)
    assert ledger.grant([bound], 0.0).exhausted


def test_what_was_spent_before_counts() -> None:
    assert Ledger(TeacherLimits(budget_usd=1.0, **PRICES), spent_usd=1.0, now=0.0).grant([Tokens(1, 1)], 0.0).exhausted


ONE = Tokens(1, 1)


def test_without_limits_nobody_has_to_ask_until_an_endpoint_complains() -> None:
    ledger = Ledger(TeacherLimits((RateLimits(), RateLimits())), 0.0, now=0.0)
    grant = ledger.grant([ONE], now=0.0)
    assert (grant.free, grant.wait_seconds) == ((0, 1), FREE_SECONDS)
    ledger.take_in(Report(pauses=[Pause(0, 2.0, True)]), now=1.0)
    assert ledger.grant([ONE], now=1.0).free == ()
    assert ledger.grant([ONE] * 3, now=1.0).endpoints == (1, 1, 1)


def test_a_budget_or_a_rate_leaves_nobody_free() -> None:
    assert Ledger(TeacherLimits(budget_usd=1.0, **PRICES), 0.0, now=0.0).grant([], now=0.0).free == ()
    assert Ledger(TeacherLimits((RateLimits(), RateLimits(60))), 0.0, now=0.0).grant([], now=0.0).free == ()


def test_each_request_takes_the_endpoint_that_has_most_left() -> None:
    ledger = Ledger(TeacherLimits((RateLimits(1000), RateLimits(4000))), 0.0, now=0.0)
    endpoints = ledger.grant([ONE] * 500, now=0.0).endpoints
    assert endpoints.count(0) == 100
    assert endpoints.count(1) == 400
    assert endpoints[:10].count(1) > endpoints[:10].count(0)


def test_unlimited_endpoints_share_evenly_and_a_closed_one_gets_nothing() -> None:
    ledger = Ledger(TeacherLimits((RateLimits(), RateLimits(), RateLimits())), 0.0, now=0.0)
    assert sorted(ledger.grant([ONE] * 9, now=0.0).endpoints) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    ledger.take_in(Report(closed={1: "the key is refused"}), now=0.0)
    grant = ledger.grant([ONE] * 4, now=0.0)
    assert 1 not in grant.endpoints
    assert grant.free == (0, 2)
    assert grant.closed is None


def test_when_the_last_endpoint_is_closed_whoever_asks_is_told_why() -> None:
    ledger = Ledger(TeacherLimits((RateLimits(), RateLimits())), 0.0, now=0.0)
    ledger.take_in(Report(closed={1: "the key is refused"}), now=0.0)
    ledger.take_in(Report(closed={0: "no credit is left"}), now=0.0)
    grant = ledger.grant([ONE] * 4, now=0.0)
    assert (grant.endpoints, grant.free, grant.closed) == ((), (), "no credit is left")


def _served(capacity_per_second: float, seconds: float, offered_in_flight: int = 100) -> tuple[int, int]:
    """Drive a ledger against a server that refuses what exceeds its rate; replies and refusals of the last half."""
    ledger = Ledger(TeacherLimits(), 0.0, now=0.0)
    now = level = 0.0
    replies = refusals = 0
    while now < seconds:
        now += 0.05
        level = min(capacity_per_second, level + 0.05 * capacity_per_second)
        sent = len(ledger.grant([ONE] * offered_in_flight, now).endpoints)
        through = min(sent, int(level))
        level -= through
        refused = sent - through
        outcomes = [Outcome(0, ONE, ONE)] * through + [Outcome(0, ONE, None)] * refused
        ledger.take_in(Report(outcomes, {0: through}, [Pause(0, 0.0, True)] * refused), now)
        if now > seconds / 2:
            replies, refusals = replies + through, refusals + refused
    return replies, refusals


def test_the_rate_of_an_endpoint_is_learned_from_its_refusals() -> None:
    replies, refusals = _served(capacity_per_second=50, seconds=120)
    assert replies > 0.75 * 50 * 60, "most of what the server takes is used"
    assert refusals < 0.15 * replies, "few requests are refused, though 2,000 a second would like to go"


def test_refusals_at_any_rate_slow_nothing_down() -> None:
    """Some servers refuse one request in ten whatever comes; going slower helps nothing there, and would never end."""
    ledger = Ledger(TeacherLimits(), 0.0, now=0.0)
    draw = random.Random(0)
    granted = 0
    for step in range(1, 1201):
        now = step * 0.1
        sent = len(ledger.grant([ONE] * 50, now).endpoints)
        refused = sum(draw.random() < 0.1 for _ in range(sent))
        outcomes = [Outcome(0, ONE, ONE)] * (sent - refused) + [Outcome(0, ONE, None)] * refused
        ledger.take_in(Report(outcomes, {0: sent - refused}, [Pause(0, 0.0, True)] * refused), now)
        granted += sent if step > 600 else 0
    assert granted > 0.9 * 600 * 50


def test_a_refusal_that_comes_before_the_replies_is_chance_too() -> None:
    """Refusals are made faster than replies, so the first to come back may be most of what is known."""
    ledger = Ledger(TeacherLimits(), 0.0, now=0.0)
    assert len(ledger.grant([ONE] * 256, now=0.0).endpoints) == 256
    ledger.take_in(Report(replies={0: 4}, pauses=[Pause(0, 0.0, True)] * 2), now=0.2)
    assert len(ledger.grant([ONE] * 256, now=0.2).endpoints) == 256


def test_the_first_cut_is_to_what_the_endpoint_has_shown_that_it_takes() -> None:
    """A hundred replies in the first second are a hundred a second, though nothing was counted in the seconds before."""
    ledger = Ledger(TeacherLimits(), 0.0, now=50.0)
    ledger.take_in(Report(replies={0: 100}), now=99.0)
    ledger.take_in(Report(pauses=[Pause(0, 0.0, True)] * 100), now=100.0)
    assert 30 < len(ledger.grant([ONE] * 1000, now=101.0).endpoints) < 60, "a burst of half a second"


def test_a_cut_is_forgotten_when_no_refusal_follows() -> None:
    ledger = Ledger(TeacherLimits(), 0.0, now=0.0)
    ledger.take_in(Report(pauses=[Pause(0, 0.0, True)] * 9), now=0.0)
    assert len(ledger.grant([ONE] * 1000, now=0.1).endpoints) == 0
    assert 0 < len(ledger.grant([ONE] * 1000, now=1.0).endpoints) < 10
    assert len(ledger.grant([ONE] * 1000, now=40.0).endpoints) == 1000
    assert ledger.grant([], now=40.0).free == (0,)


@given(st.text(max_size=50))
def test_no_byte_makes_more_than_one_token(text: str) -> None:
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": 7}
    bound = upper_bound(body)
    assert bound.completion == 7
    assert bound.prompt > len(text.encode())
    assert upper_bound({"prompt": text, "max_tokens": 7}) == bound


def test_a_reply_without_usage_counts_as_its_bound() -> None:
    bound = Tokens(10, 20)
    assert used_tokens(bound, TeacherReply("x", "stop", 0, 0), False) == bound
    assert used_tokens(bound, TeacherReply("x", "stop", 3, 4), False) == Tokens(3, 4)
    assert used_tokens(bound, None, True) == bound
    assert used_tokens(bound, None, False) is None
