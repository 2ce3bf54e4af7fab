"""The Batch API against the scripted teacher's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evolcoder.cluster import free_port
from evolcoder.endpoint import batch_client as batches_module
from evolcoder.endpoint.batch_client import BatchClient, collect
from evolcoder.endpoint.client import EndpointClient
from evolcoder.endpoint.journal.lines import Entry, request_key
from evolcoder.endpoint.limits.limiter import LocalLimiter, Permit
from evolcoder.endpoint.requests import Endpoint, RequestFailed, SamplingSettings, TeacherReply
from evolcoder.endpoint.scripted.server import Script, ScriptedTeacher, scripted_teacher
from evolcoder.errors import EndpointError

SAMPLING = SamplingSettings(1.0, 0.95, 200)
QUICK = {"batch_seconds": 0.2}


def endpoint_of(teacher: ScriptedTeacher, **changes: Any) -> Endpoint:
    return Endpoint(**{"base_url": teacher.base_url, "model": Script.model, "timeout_seconds": 20.0, **changes})


def questions(count: int) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": f"question {number}"}] for number in range(count)]


def ask_all(endpoint: Endpoint, count: int, limiter: Any = None) -> tuple[list[Any], BatchClient]:
    async def ask() -> tuple[list[Any], BatchClient]:
        client = BatchClient(endpoint, "us", 0.05, limiter)
        outcomes = await asyncio.gather(*(client.chat(q, SAMPLING) for q in questions(count)), return_exceptions=True)
        await client.close()
        return outcomes, client

    return asyncio.run(ask())


def test_the_replies_are_those_of_single_requests() -> None:
    with scripted_teacher(Script(**QUICK)) as teacher:
        outcomes, client = ask_all(endpoint_of(teacher), 30)
        assert client.sent == 30

        async def ask_singly() -> list[TeacherReply]:
            single = EndpointClient(endpoint_of(teacher), 8)
            replies = await asyncio.gather(*(single.chat(q, SAMPLING) for q in questions(30)))
            await single.close()
            return list(replies)

        assert outcomes == asyncio.run(ask_singly())


def test_what_failed_goes_into_a_later_batch() -> None:
    faults = {"error_500": 0.2, "rate_limited": 0.1, "dropped": 0.2}
    with scripted_teacher(Script(faults=faults, **QUICK)) as teacher:
        outcomes, client = ask_all(endpoint_of(teacher, max_attempts=12), 60)
        counts = teacher.counts()
    assert all(isinstance(outcome, TeacherReply) for outcome in outcomes)
    assert counts["answered"] == counts["distinct"] == 60
    assert counts["requests"] == client.sent > 60
    assert {"server_error", "rate_limited", "expired"} == set(client.faults)


def test_a_request_that_never_gets_a_reply_fails_alone() -> None:
    with scripted_teacher(Script(faults={"error_500": 1.0}, **QUICK)) as teacher:
        outcomes, _ = ask_all(endpoint_of(teacher, max_attempts=2), 3)
        assert teacher.counts()["requests"] == 6
    assert [outcome.kind for outcome in outcomes if isinstance(outcome, RequestFailed)] == ["server_error"] * 3


@pytest.mark.parametrize("wrong", ["key", "gone"])
def test_an_endpoint_that_cannot_be_used(wrong: str) -> None:
    with scripted_teacher(Script(api_key="right")) as teacher:
        endpoint = endpoint_of(teacher, api_key="wrong", max_attempts=1)
        if wrong == "gone":
            endpoint = Endpoint(f"http://127.0.0.1:{free_port()}/v1", Script.model, max_attempts=1)
        outcomes, _ = ask_all(endpoint, 5)
    assert len({str(outcome) for outcome in outcomes}) == 1
    assert isinstance(outcomes[0], EndpointError if wrong == "key" else RequestFailed)


def test_batches_are_cut_at_their_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_module, "MAX_REQUESTS", 7)
    with scripted_teacher(Script(**QUICK)) as teacher:
        outcomes, _ = ask_all(endpoint_of(teacher), 20)
        assert all(isinstance(outcome, TeacherReply) for outcome in outcomes)


class _Counting(LocalLimiter):
    def __init__(self) -> None:
        super().__init__(1)
        self.admitted = self.replies = self.nothing = 0

    async def acquire(self, body: Any) -> Permit:
        self.admitted += 1
        return await super().acquire(body)

    def release(self, permit: Permit, reply: TeacherReply | None, maybe_billed: bool) -> None:
        super().release(permit, reply, maybe_billed)
        self.replies += reply is not None
        self.nothing += reply is None


def test_the_gate_hears_of_every_try() -> None:
    limiter = _Counting()
    with scripted_teacher(Script(faults={"error_500": 0.3}, **QUICK)) as teacher:
        ask_all(endpoint_of(teacher, max_attempts=12), 20, limiter)
        assert limiter.admitted == teacher.counts()["requests"]
    assert limiter.replies == 20
    assert limiter.admitted == limiter.replies + limiter.nothing


def test_each_look_at_a_batch_is_told() -> None:
    seen: list[tuple[str, int, int]] = []
    with scripted_teacher(Script(**QUICK)) as teacher:

        async def ask() -> None:
            client = BatchClient(endpoint_of(teacher), "us", 0.05, on_look=lambda *look: seen.append(look))
            try:
                await asyncio.gather(*(client.chat(question, SAMPLING) for question in questions(7)))
            finally:
                await client.close()

        asyncio.run(ask())
    assert seen[0] == ("batch_0", 0, 7)
    assert seen[-1] == ("batch_0", 7, 7)


def test_a_killed_asker_finds_its_batches_again() -> None:
    """Nothing is asked again, what is known is not taken twice, and batches of others are left alone."""
    with scripted_teacher(Script(**QUICK)) as teacher:
        endpoint = endpoint_of(teacher)

        async def die_waiting() -> None:
            client = BatchClient(endpoint, "us", 0.05)
            others = BatchClient(endpoint, "others", 0.05)
            tasks = [asyncio.create_task(client.chat(q, SAMPLING)) for q in questions(10)]
            tasks.append(asyncio.create_task(others.chat(questions(1)[0], SAMPLING)))
            await asyncio.sleep(0.15)  # the batches are made, and not ended
            for task in tasks:
                task.cancel()
            await client.close()
            await others.close()

        asyncio.run(die_waiting())
        kept: list[Entry] = []

        async def keep(entry: Entry) -> None:
            kept.append(entry)

        bodies = [
            {"model": Script.model, "messages": q, "temperature": 1.0, "top_p": 0.95, "max_tokens": 200} for q in questions(10)
        ]
        keys = [request_key("chat", body) for body in bodies]
        new = asyncio.run(collect(endpoint, "us", 0.05, lambda key: key == keys[0], keep))
        assert new == len(kept) == 9
        assert {entry.key for entry in kept} == set(keys[1:])
        assert all(entry.text and entry.completion_tokens for entry in kept)
        assert teacher.counts()["answered_again"] <= 1, "the one that the others asked too"
