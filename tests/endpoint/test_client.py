"""The client against a scripted teacher: each fault ends as the table in client.py says."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web
from tests.ports import free_port

from evolcoder.endpoint.checking import api_key_from_environment, check_endpoint
from evolcoder.endpoint.client import EndpointClient
from evolcoder.endpoint.limits.limiter import Permit
from evolcoder.endpoint.requests import Endpoint, RequestFailed, SamplingSettings, TeacherReply
from evolcoder.endpoint.scripted.server import Script, ScriptedTeacher, scripted_teacher
from evolcoder.errors import BudgetError, EndpointError, EvolcoderError

MODEL = Script.model
SAMPLING = SamplingSettings(1.0, 0.95, 200)


_chosen: dict[str, Any] = {}


@pytest.fixture(params=["openai", "aiohttp"], autouse=True)
def transport(request: pytest.FixtureRequest) -> None:
    """Every test runs with each transport."""
    _chosen["transport"] = request.param


def endpoint_of(teacher: ScriptedTeacher, **changes: Any) -> Endpoint:
    return Endpoint(**{"base_url": teacher.base_url, "model": MODEL, "timeout_seconds": 20.0, **_chosen, **changes})


def ask_all(
    endpoint: Endpoint | list[Endpoint], requests: int, concurrency: int = 16, limiter: Any = None
) -> tuple[list[Any], EndpointClient]:
    """Ask different questions at once; what each ended with, exceptions included."""

    async def ask() -> tuple[list[Any], EndpointClient]:
        client = EndpointClient(endpoint, concurrency, limiter)
        questions = [[{"role": "user", "content": f"question {number}"}] for number in range(requests)]
        outcomes = await asyncio.gather(*(client.chat(q, SAMPLING) for q in questions), return_exceptions=True)
        await client.close()
        return outcomes, client

    return asyncio.run(ask())


def test_a_mix_of_faults_ends_with_a_reply_for_every_request_and_few_extra() -> None:
    faults = {"retry_after": 0.1, "error_500": 0.05, "dropped": 0.01, "html": 0.005, "truncated_json": 0.005}
    with scripted_teacher(Script(faults=faults, retry_after_seconds=0.02, latency_seconds=0.01)) as teacher:
        outcomes, client = ask_all(endpoint_of(teacher), 300)
        counts = teacher.counts()
    assert all(isinstance(outcome, TeacherReply) for outcome in outcomes)
    assert counts["answered"] == counts["distinct"] == 300
    assert counts["requests"] <= 1.25 * 300
    assert counts["most_in_flight"] <= 16
    assert counts["early"] == 0
    assert {"rate_limited", "server_error"} <= set(client.faults)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("error_503", "server_error"),
        ("dropped", "dropped"),
        ("html", "garbage"),
        ("truncated_json", "garbage"),
    ],
)
def test_a_fault_that_stays_uses_up_the_attempts_and_has_a_name(fault: str, kind: str) -> None:
    with scripted_teacher(Script(faults={fault: 1.0})) as teacher:
        [outcome], _ = ask_all(endpoint_of(teacher, max_attempts=2), 1)
        assert isinstance(outcome, RequestFailed)
        assert outcome.kind == kind
        assert teacher.counts()["requests"] == 2


def test_a_reply_that_only_drips_is_a_timeout() -> None:
    with scripted_teacher(Script(faults={"slow_drip": 1.0}, drip_seconds=30)) as teacher:
        [outcome], _ = ask_all(endpoint_of(teacher, timeout_seconds=0.3, max_attempts=1), 1)
    assert isinstance(outcome, RequestFailed)
    assert outcome.kind == "timeout"


@pytest.mark.parametrize("fault", ["rate_limited", "retry_after"])
def test_rate_limits_pause_all_requests_and_are_no_fault_of_the_request(fault: str) -> None:
    with scripted_teacher(Script(faults={fault: 0.5}, retry_after_seconds=0.01)) as teacher:
        outcomes, client = ask_all(endpoint_of(teacher, max_attempts=2), 6)
    assert all(isinstance(outcome, TeacherReply) for outcome in outcomes)
    assert client.faults["rate_limited"] > 0


def test_empty_and_truncated_contents_are_replies() -> None:
    with scripted_teacher(Script(faults={"empty": 1.0})) as teacher:
        [empty], _ = ask_all(endpoint_of(teacher), 1)
    with scripted_teacher(Script(faults={"length": 1.0})) as teacher:
        [cut], _ = ask_all(endpoint_of(teacher), 1)
    assert empty.text == ""
    assert cut.finish_reason == "length"
    assert cut.text


@pytest.mark.parametrize("wrong", ["key", "model"])
def test_a_wrong_key_or_model_stops_all_with_one_sentence_and_no_retries(wrong: str) -> None:
    with scripted_teacher(Script(api_key="right")) as teacher:
        endpoint = (
            endpoint_of(teacher, api_key="wrong") if wrong == "key" else endpoint_of(teacher, api_key="right", model="no")
        )
        outcomes, _ = ask_all(endpoint, 50, concurrency=4)
        assert all(isinstance(outcome, EndpointError) for outcome in outcomes)
        assert len({str(outcome) for outcome in outcomes}) == 1
        assert teacher.counts()["refused"] <= 4


def test_an_endpoint_that_is_gone_stops_all() -> None:
    endpoint = Endpoint(f"http://127.0.0.1:{free_port()}/v1", MODEL, max_attempts=2)
    outcomes, client = ask_all(endpoint, 8, concurrency=8)
    assert all(isinstance(outcome, EndpointError) for outcome in outcomes)
    assert client.sent <= 16
    assert "does not answer" in str(outcomes[0])


def test_several_endpoints_share_the_work() -> None:
    with scripted_teacher(Script(latency_seconds=0.02)) as one, scripted_teacher(Script(latency_seconds=0.02)) as other:
        outcomes, _ = ask_all([endpoint_of(one), endpoint_of(other)], 60, concurrency=8)
        counts = [teacher.counts()["requests"] for teacher in (one, other)]
    assert all(isinstance(outcome, TeacherReply) for outcome in outcomes)
    assert sum(counts) == 60
    assert min(counts) >= 20


@pytest.mark.parametrize("fault", ["wrong key", "gone"])
def test_an_endpoint_that_fails_is_closed_and_the_others_go_on(fault: str) -> None:
    with scripted_teacher(Script(api_key="right")) as good, scripted_teacher(Script(api_key="right")) as bad:
        lost = endpoint_of(bad, api_key="wrong", max_attempts=2)
        if fault == "gone":
            lost = Endpoint(f"http://127.0.0.1:{free_port()}/v1", MODEL, max_attempts=2)
        closed: list[EndpointError] = []

        async def ask() -> list[Any]:
            client = EndpointClient([lost, endpoint_of(good, api_key="right")], 8, on_closed=closed.append)
            questions = [[{"role": "user", "content": f"question {number}"}] for number in range(40)]
            outcomes = await asyncio.gather(*(client.chat(q, SAMPLING) for q in questions), return_exceptions=True)
            if fault == "gone":  # its pause is over by then, and it is tried a last time
                await asyncio.sleep(0.6)
                outcomes += await asyncio.gather(*(client.chat(q, SAMPLING) for q in questions), return_exceptions=True)
            await client.close()
            return outcomes

        outcomes = asyncio.run(ask())
        assert all(isinstance(outcome, TeacherReply) for outcome in outcomes)
        assert len(closed) == 1
        assert good.counts()["repeats"] <= 40
        assert bad.counts()["refused"] <= 8


def test_when_the_last_endpoint_closes_what_waits_at_a_paused_one_ends_too() -> None:
    with scripted_teacher(Script(faults={"retry_after": 1.0}, retry_after_seconds=60)) as slow:

        async def ask() -> Any:
            client = EndpointClient(endpoint_of(slow), 2)
            waiting = asyncio.create_task(client.chat([{"role": "user", "content": "hello"}], SAMPLING))
            await asyncio.sleep(0.5)
            client._stop_all(EndpointError("It is over."))
            outcome = await asyncio.wait_for(asyncio.gather(waiting, return_exceptions=True), timeout=5)
            await client.close()
            return outcome

        [outcome] = asyncio.run(ask())
    assert isinstance(outcome, EndpointError)


def test_a_refused_request_fails_alone_and_at_once() -> None:
    """For ever, where the endpoint answers others; where it answers none, the endpoint may be at fault."""
    with scripted_teacher() as teacher:

        async def ask(*others: str) -> list[Any]:
            client = EndpointClient(endpoint_of(teacher), 4)
            bad = client._request("/completions", {"messages": "not what this address takes"}, SAMPLING)
            outcomes = await asyncio.gather(bad, *(client.complete(o, SAMPLING) for o in others), return_exceptions=True)
            await client.close()
            return outcomes

        bad, good = asyncio.run(ask("def f("))
        assert isinstance(bad, RequestFailed)
        assert bad.kind == "refused"
        assert isinstance(good, TeacherReply)
        assert teacher.counts()["refused"] == 1
        [alone] = asyncio.run(ask())
        assert isinstance(alone, RequestFailed)
        assert alone.kind == "rejected"


def test_an_endpoint_that_refuses_everything_is_one_sentence() -> None:
    with scripted_teacher() as teacher:

        async def ask() -> list[Any]:
            client = EndpointClient(endpoint_of(teacher), 4)
            bad = [client._request("/completions", {"messages": str(n)}, SAMPLING) for n in range(100)]
            outcomes = await asyncio.gather(*bad, return_exceptions=True)
            await client.close()
            return outcomes

        outcomes = asyncio.run(ask())
        assert isinstance(outcomes[-1], EndpointError)
        assert "has refused 16 requests and answered none (400" in str(outcomes[-1])
        assert teacher.counts()["refused"] <= 20


def test_a_stream_brings_the_same_reply_and_its_faults_are_faults() -> None:
    with scripted_teacher() as teacher:
        [whole], _ = ask_all(endpoint_of(teacher), 1)
        [streamed], _ = ask_all(endpoint_of(teacher, stream=True, max_tokens_field="max_tokens"), 1)
        assert streamed == whole
        [short], _ = ask_all(endpoint_of(teacher, stream=True, max_tokens_field="max_completion_tokens"), 1)
        assert isinstance(short, TeacherReply)
    for fault, kind in (("dropped", "dropped"), ("html", "garbage"), ("error_503", "server_error")):
        with scripted_teacher(Script(faults={fault: 1.0})) as teacher:
            [outcome], _ = ask_all(endpoint_of(teacher, max_attempts=1, stream=True), 1)
        assert isinstance(outcome, RequestFailed)
        assert outcome.kind == kind


class _Latin(ScriptedTeacher):
    """Sends a byte that is no UTF-8, behind a byte order mark."""

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = '{"choices": [{"message": {"content": "caf\u00e9"}, "finish_reason": "stop"}]}'
        return web.Response(body=b"\xef\xbb\xbf" + body.encode("latin-1"), content_type="application/json")


def test_bytes_that_are_no_utf_8_are_replaced_and_counted() -> None:
    with scripted_teacher(kind=_Latin) as teacher:
        [reply], _ = ask_all(endpoint_of(teacher), 1)
    assert (reply.text, reply.replaced_characters) == ("caf\ufffd", 1)


class _Dialect(ScriptedTeacher):
    """Takes no ``max_tokens``."""

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if "max_tokens" in await request.json():
            said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
            return self._refuse(request, 400, said, "unsupported_parameter")
        return await super()._answer(request)


def test_a_field_that_is_not_taken_stops_all_with_the_setting_to_change() -> None:
    with scripted_teacher(kind=_Dialect) as teacher:
        outcomes, _ = ask_all(endpoint_of(teacher), 40, concurrency=4)
        assert all(isinstance(outcome, EndpointError) for outcome in outcomes)
        assert "set teacher.max_tokens_field=max_completion_tokens" in str(outcomes[0])
        assert teacher.counts()["refused"] <= 4
        outcomes, _ = ask_all(endpoint_of(teacher, max_tokens_field="max_completion_tokens"), 3)
        assert all(isinstance(outcome, TeacherReply) for outcome in outcomes)


class _Gate:
    """Lets a number of requests pass, then says that the budget is used up."""

    def __init__(self, passes: int) -> None:
        self.passes = passes
        self.settled: list[tuple[Any, bool]] = []

    async def acquire(self, body: Mapping[str, Any]) -> Permit:
        if self.passes == 0:
            raise BudgetError("No money is left.")
        self.passes -= 1
        return Permit(0)

    def release(self, permit: Permit, reply: TeacherReply | None, maybe_billed: bool) -> None:
        self.settled.append((reply, maybe_billed))

    def pause(self, endpoint: int, seconds: float, rate_limited: bool) -> None:
        pass

    def close(self, endpoint: int) -> None:
        pass

    def stop(self, error: EvolcoderError) -> None:
        pass


def test_the_gate_stops_all_requests_with_its_own_error_and_hears_every_outcome() -> None:
    limiter = _Gate(5)
    with scripted_teacher(Script(latency_seconds=0.01)) as teacher:
        outcomes, _ = ask_all(endpoint_of(teacher), 20, limiter=limiter)
        assert teacher.counts()["requests"] == 5
    assert sum(isinstance(outcome, BudgetError) for outcome in outcomes) == 15
    assert len(limiter.settled) == 5
    assert all(reply is not None for reply, _ in limiter.settled)


def test_an_attempt_that_may_have_been_charged_is_told_apart() -> None:
    for fault, charged in (("dropped", True), ("html", True), ("error_500", False)):
        limiter = _Gate(1)
        with scripted_teacher(Script(faults={fault: 1.0})) as teacher:
            ask_all(endpoint_of(teacher, max_attempts=1), 1, limiter=limiter)
        assert limiter.settled == [(None, charged)], fault


def test_check_says_in_one_sentence_what_is_wrong() -> None:
    with scripted_teacher(Script(api_key="right")) as teacher:
        check_endpoint(endpoint_of(teacher, api_key="right"))
        with pytest.raises(EndpointError, match="API key"):
            check_endpoint(endpoint_of(teacher, api_key="wrong"))
        with pytest.raises(EndpointError, match=f"does not serve a model 'other'.*{MODEL}"):
            check_endpoint(endpoint_of(teacher, api_key="right", model="other"))
    with pytest.raises(EndpointError, match="does not answer"):
        check_endpoint(Endpoint(f"http://127.0.0.1:{free_port()}/v1", MODEL))


@pytest.mark.parametrize(
    "base_url", ["foo", "htp://x/v1", "http://[::1", "http://127.0.0.1:99999/v1", "http://nowhere.invalid/v1"]
)
def test_an_address_that_is_none_is_one_sentence(base_url: str) -> None:
    with pytest.raises(EndpointError, match=r"does not answer .*; start it, or correct the base URL"):
        check_endpoint(Endpoint(base_url, MODEL))


def test_the_key_is_in_no_repr_and_travels() -> None:
    endpoint = Endpoint("http://x/v1", "m", api_key="secret")
    assert "secret" not in repr(endpoint)
    assert pickle.loads(pickle.dumps(endpoint)).api_key == "secret"


def test_an_empty_variable_holds_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", " ")
    assert api_key_from_environment("SOME_KEY") is None
    monkeypatch.setenv("SOME_KEY", "k\n")
    assert api_key_from_environment("SOME_KEY") == "k"
