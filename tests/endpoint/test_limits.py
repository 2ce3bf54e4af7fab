"""The ledger under any history: no minute over its limits, no dollar over the budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evolcoder.endpoint.client import Reply
from evolcoder.endpoint.limits import Ledger, Limits, Outcome, Tokens, upper_bound, used_tokens

PRICES = {"usd_per_million_input_tokens": 1.0, "usd_per_million_output_tokens": 2.0}

_request = st.tuples(st.integers(1, 3000), st.integers(1, 3000), st.floats(0, 1))


@given(st.lists(_request, max_size=60), st.integers(1, 40_000), st.integers(1, 8))
def test_what_is_spent_and_reserved_never_exceeds_the_budget(
    requests: list[tuple[int, int, float]], budget_millionths: int, in_flight: int
) -> None:
    budget = budget_millionths / 1e6
    ledger = Ledger(Limits(budget_usd=budget, **PRICES), spent_usd=0.0, now=0.0)
    flying: list[tuple[Tokens, float]] = []
    for prompt, completion, share in requests:
        bound = Tokens(prompt, completion)
        grant = ledger.grant([bound], now=0.0)
        if grant.granted:
            flying.append((bound, share))
        assert ledger.spent_usd + ledger.reserved_usd <= budget + 1e-12
        if len(flying) >= in_flight:
            sent, used = flying.pop(0)
            ledger.settle(Outcome(sent, Tokens(int(sent.prompt * used), int(sent.completion * used))))
        assert ledger.spent_usd + ledger.reserved_usd <= budget + 1e-12
        assert not (grant.exhausted and flying), "it must wait while the outcome of some request may free money"


@given(st.integers(1, 300), st.lists(st.floats(0, 20), min_size=1, max_size=150))
def test_no_minute_holds_more_requests_than_allowed(per_minute: int, pauses: list[float]) -> None:
    ledger = Ledger(Limits(requests_per_minute=per_minute), 0.0, now=0.0)
    now, sent = 0.0, []
    for pause in pauses:
        now += pause
        grant = ledger.grant([Tokens(1, 1)] * 10, now)
        sent += [now] * grant.granted
    allowed = max(per_minute, 2)
    for start in sent:
        assert sum(start <= at < start + 60 for at in sent) <= allowed + 1


def test_waiting_as_long_as_it_says_is_enough() -> None:
    ledger = Ledger(Limits(requests_per_minute=30, tokens_per_minute=1000), 0.0, now=0.0)
    now, granted = 0.0, 0
    for _ in range(500):
        grant = ledger.grant([Tokens(300, 200)], now)
        granted += grant.granted
        if grant.granted:
            ledger.settle(Outcome(Tokens(300, 200), Tokens(100, 100)))
        now += grant.wait_seconds
        if granted == 10:
            break
    assert granted == 10
    assert 60 <= now <= 400


def test_a_pause_holds_for_all() -> None:
    ledger = Ledger(Limits(requests_per_minute=1000), 0.0, now=0.0)
    ledger.pause(3.0, now=1.0)
    assert ledger.grant([Tokens(1, 1)], now=3.5).granted == 0
    assert ledger.grant([Tokens(1, 1)], now=4.0).granted == 1


def test_exhausted_only_when_nothing_is_on_its_way() -> None:
    ledger = Ledger(Limits(budget_usd=3e-6, **PRICES), 0.0, now=0.0)
    bound = Tokens(1, 1)
    first, second = ledger.grant([bound, bound], 0.0), ledger.grant([bound], 0.0)
    assert (first.granted, first.exhausted) == (1, False)
    assert (second.granted, second.exhausted) == (0, False)
    ledger.settle(Outcome(bound, bound))
    assert ledger.grant([bound], 0.0).exhausted


def test_what_was_spent_before_counts() -> None:
    assert Ledger(Limits(budget_usd=1.0, **PRICES), spent_usd=1.0, now=0.0).grant([Tokens(1, 1)], 0.0).exhausted


@given(st.text(max_size=50))
def test_no_byte_makes_more_than_one_token(text: str) -> None:
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": 7}
    bound = upper_bound(body)
    assert bound.completion == 7
    assert bound.prompt > len(text.encode())
    assert upper_bound({"prompt": text, "max_tokens": 7}) == bound


def test_a_reply_without_usage_counts_as_its_bound() -> None:
    bound = Tokens(10, 20)
    assert used_tokens(bound, Reply("x", "stop", 0, 0), False) == bound
    assert used_tokens(bound, Reply("x", "stop", 3, 4), False) == Tokens(3, 4)
    assert used_tokens(bound, None, True) == bound
    assert used_tokens(bound, None, False) is None
