"""Rows by the Batch API against the scripted teacher's, without Ray: what is asked, how often, and what is found again."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.evolve.rows import seed

from evolcoder.endpoint import batch_api
from evolcoder.endpoint.client import EndpointClient
from evolcoder.endpoint.journal.epoch import Epoch
from evolcoder.endpoint.journal.lines import Entry, parse_line
from evolcoder.endpoint.journal.reader import recorded_tokens
from evolcoder.endpoint.limits.ledger import TeacherLimits
from evolcoder.endpoint.limits.shared_limiter import LimitsActor
from evolcoder.endpoint.requests import Endpoint
from evolcoder.endpoint.scripted import server
from evolcoder.endpoint.scripted.batches import BatchEndpoints
from evolcoder.endpoint.scripted.server import Script, ScriptedTeacher, scripted_teacher
from evolcoder.errors import BudgetError, EndpointError
from evolcoder.evolve.rounds.batch_evolver import BatchEvolver
from evolcoder.evolve.rounds.worker import RoundJob
from evolcoder.evolve.rules.evolution import Asked, RoundPlan, evolve_row
from evolcoder.records import Instruction
from evolcoder.settings.evolve import EvolveSettings, TeacherSettings
from evolcoder.storage.folders import Folder
from evolcoder.storage.hashes import stable_hash

EVOLVE = EvolveSettings(operators=("constraints", "complexity"), max_instruction_words=500)
PLAN = RoundPlan(1, EVOLVE, TeacherSettings(max_tokens=200), Script.model)
POOL = [seed(f"Write a function that adds {number}.") for number in range(20)]
QUICK = {"batch_seconds": 0.2}


class Ledger:
    """A ``LimitsActor`` in this process, called as Ray calls one."""

    def __init__(self, limits: TeacherLimits, journal: Folder) -> None:
        self._actor = LimitsActor(limits, journal)
        self.exchange = self

    async def remote(self, *arguments: Any) -> Any:
        return self._actor.exchange(*arguments)


def job_of(teacher: ScriptedTeacher, folder: Folder, concurrency: int = 64, **changes: Any) -> RoundJob:
    endpoint = Endpoint(teacher.base_url, Script.model, timeout_seconds=20.0, **({"max_attempts": 12} | changes))
    return RoundJob(PLAN, (endpoint,), concurrency, folder, "01", Epoch.claim(folder), TeacherLimits())


async def evolved_by(job: RoundJob, seen: list[Counter[str]] | None = None) -> list[Instruction]:
    rows: list[Instruction] = []
    evolver = BatchEvolver(job, Ledger(job.limits, job.journal), 0.05, seen.append if seen is not None else lambda now: None)
    try:
        await evolver.take_left()
        await evolver.evolve(POOL, rows.extend)
    finally:
        await evolver.close()
    return rows


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder.open(tmp_path / "journal")


def test_the_rows_are_those_of_single_requests(folder: Folder) -> None:
    async def singly(endpoint: Endpoint) -> list[Instruction]:
        client = EndpointClient(endpoint, 8)

        async def ask(prompt: str, sampling: Any) -> Asked:
            return Asked(await client.chat([{"role": "user", "content": prompt}], sampling), "")

        rows = await asyncio.gather(*(evolve_row(row, PLAN, ask) for row in POOL))
        await client.close()
        return list(rows)

    with scripted_teacher(Script(faults={"refusal": 0.2}, **QUICK)) as teacher:
        job = job_of(teacher, folder)
        rows = asyncio.run(evolved_by(job))
        assert teacher.counts()["most_in_flight"] == 0, "nothing was asked but by batches"
        alone = asyncio.run(singly(job.endpoints[0]))
    told = [(row.id, row.instruction, row.response, row.status, row.reason, row.completion_tokens) for row in rows]
    assert told == [(row.id, row.instruction, row.response, row.status, row.reason, row.completion_tokens) for row in alone]
    assert {row.status for row in rows} == {"kept", "eliminated"}


def test_a_round_is_as_many_batches_as_a_row_has_calls_and_the_next_run_sends_nothing(folder: Folder) -> None:
    seen: list[Counter[str]] = []
    with scripted_teacher(Script(**QUICK)) as teacher:
        first = asyncio.run(evolved_by(job_of(teacher, folder), seen))
        assert teacher.counts()["requests"] == 40
        assert asyncio.run(evolved_by(job_of(teacher, folder))) == first
        assert teacher.counts()["requests"] == 40
    assert {key: seen[-1][key] for key in ("kept", "batch_requests", "batch_replies")} == {
        "kept": 20,
        "batch_requests": 40,
        "batch_replies": 40,
    }
    assert next(now["batch_requests"] for now in seen if now["batch_requests"]) == 20


def test_what_failed_goes_into_a_later_batch(folder: Folder) -> None:
    faults = {"error_500": 0.2, "rate_limited": 0.1, "dropped": 0.2}
    with scripted_teacher(Script(faults=faults, **QUICK)) as teacher:
        rows = asyncio.run(evolved_by(job_of(teacher, folder)))
        counts = teacher.counts()
    assert all(row.status == "kept" for row in rows)
    assert counts["answered"] == counts["distinct"] == 40
    assert counts["requests"] > 40


def test_a_request_that_never_gets_a_reply_fails_alone(folder: Folder) -> None:
    with scripted_teacher(Script(faults={"error_500": 0.3}, **QUICK)) as teacher:
        rows = asyncio.run(evolved_by(job_of(teacher, folder, max_attempts=1)))
    failed = [row for row in rows if row.status == "failed"]
    assert 0 < len(failed) < 20
    assert all((row.reason or "").startswith("server_error: 500") for row in failed)


def test_an_endpoint_that_cannot_be_used_stops_the_run(folder: Folder) -> None:
    with scripted_teacher(Script(api_key="right")) as teacher, pytest.raises(EndpointError, match="API key"):
        asyncio.run(evolved_by(job_of(teacher, folder, api_key="wrong")))


def test_batches_are_cut_at_their_limits(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_api, "MAX_REQUESTS", 7)
    with scripted_teacher(Script(**QUICK)) as teacher:
        rows = asyncio.run(evolved_by(job_of(teacher, folder, concurrency=10)))
        assert teacher.counts()["requests"] == 40
    assert all(row.status == "kept" for row in rows)


@pytest.mark.parametrize("budget", [0.01, 0.05])
def test_a_budget_is_a_wall_and_what_fits_it_is_asked(folder: Folder, budget: float) -> None:
    limits = TeacherLimits(budget_usd=budget, usd_per_million_input_tokens=1.0, usd_per_million_output_tokens=10.0)
    with scripted_teacher(Script(**QUICK)) as teacher:
        job = job_of(teacher, folder)
        job = RoundJob(PLAN, job.endpoints, 64, folder, "01", job.epoch, limits)
        if budget < 0.02:
            with pytest.raises(BudgetError, match=r"0\.01 USD"):
                asyncio.run(evolved_by(job))
        else:
            asyncio.run(evolved_by(job))
        counts = teacher.counts()
    assert limits.usd(counts["prompt_tokens"], counts["completion_tokens"]) <= budget
    assert counts["answered"] > 0
    assert recorded_tokens(folder) == (counts["prompt_tokens"], counts["completion_tokens"]), "no reservation was left"


def test_a_killed_run_finds_its_batches_again(folder: Folder) -> None:
    """Nothing is asked again, and batches of others are left alone."""
    with scripted_teacher(Script(batch_seconds=0.4)) as teacher:

        async def die_waiting() -> None:
            seen: list[Counter[str]] = []
            task = asyncio.create_task(evolved_by(job_of(teacher, folder), seen))
            while not any(now["batch_requests"] for now in seen):  # until the batch is made; it has not ended then
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(die_waiting())
        other = folder / "other"
        asyncio.run(evolved_by(job_of(teacher, other)))
        assert teacher.counts()["answered_again"] >= 20, "others asked the same"
        rows = asyncio.run(evolved_by(job_of(teacher, folder)))
        assert teacher.counts()["requests"] == 20 + 40 + 20
    assert all(row.status == "kept" for row in rows)
    lines = [parse_line(line) for name in (folder / "01").names() for line in (folder / "01").read_bytes(name).splitlines(True)]
    assert len({line.key for line in lines if isinstance(line, Entry)}) == len(lines) == 40


class _Refusing(BatchEndpoints):
    """Refuses lines that ask for much, by a filter; or every line, for a field."""

    def _outcome(self, line: Mapping[str, Any]) -> dict[str, Any]:
        body = line["body"]
        error: dict[str, Any] | None = None
        if "max_tokens" not in body:
            error = {"message": "Unsupported parameter: 'max_completion_tokens'.", "param": "max_completion_tokens"}
        elif stable_hash(json.dumps(body)) < "4":
            error = {"message": "The response was filtered.", "code": "content_filter"}
        if error is None:
            return super()._outcome(line)
        return {"custom_id": line["custom_id"], "error": None, "response": {"status_code": 400, "body": {"error": error}}}


def test_a_line_that_is_refused_eliminates_its_row_and_a_wrong_field_stops_the_run(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "BatchEndpoints", _Refusing)
    with scripted_teacher(Script(**QUICK)) as teacher:
        with pytest.raises(EndpointError, match=r"set teacher\.max_tokens_field=max_tokens"):
            asyncio.run(evolved_by(job_of(teacher, folder, max_tokens_field="max_completion_tokens")))
        rows = asyncio.run(evolved_by(job_of(teacher, folder)))
    assert {row.status for row in rows} == {"kept", "eliminated"}
    assert {row.reason for row in rows} == {None, "refused"}
