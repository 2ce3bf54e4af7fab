"""A worker without Ray: odd replies become rows or fall, and what was changed in them is counted once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from tests.evolve.rounds.test_batch_evolver import PLAN, Ledger
from tests.evolve.rows import seed

from evolcoder.endpoint.journal.epoch import Epoch
from evolcoder.endpoint.limits.ledger import TeacherLimits
from evolcoder.endpoint.requests import Endpoint
from evolcoder.endpoint.scripted.server import Script, ScriptedTeacher, scripted_teacher
from evolcoder.evolve.rounds.on_ray import _AttemptSink
from evolcoder.evolve.rounds.worker import RoundJob, RoundProgress, RowEvolver
from evolcoder.storage.folders import Folder

ROWS = 24


class OddTeacher(ScriptedTeacher):
    """Thinks aloud, breaks a character in two, and refuses some requests for ever."""

    def refusal(self) -> dict[str, Any]:
        return {"message": "The response was filtered.", "code": "content_filter"}

    async def _answer(self, request: Any) -> Any:
        body = await request.json()
        if "adds 7" in body["messages"][0]["content"]:
            return self._refuse(request, 400, **self.refusal())
        return await super()._answer(request)

    def completion(self, *arguments: Any) -> dict[str, Any]:
        made = super().completion(*arguments)
        message = made["choices"][0]["message"]
        message["content"] = f"<think>\nHm.\n</think>\n\n{message['content']} \ud83d"
        return made


class UnnamedRefusals(OddTeacher):
    """Gives no reason that anyone knows."""

    def refusal(self) -> dict[str, Any]:
        return {"message": "No.", "code": "x17"}


class Board:
    """An actor in this process, called as Ray calls one."""

    def __init__(self) -> None:
        self.report = self
        self.told = RoundProgress()

    def remote(self, name: str, progress: RoundProgress) -> asyncio.Future[None]:
        self.told = progress
        heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heard.set_result(None)
        return heard


def evolve_on_one_worker(teacher: ScriptedTeacher, folder: Folder) -> tuple[list[dict[str, Any]], RoundProgress]:
    async def act() -> tuple[list[dict[str, Any]], RoundProgress]:
        job = RoundJob(PLAN, (Endpoint(teacher.base_url, Script.model),), 8, folder, "01", Epoch.claim(folder), TeacherLimits())
        board = Board()
        worker = RowEvolver(job, board, Ledger(job.limits, folder))
        pool = [seed(f"Write a function that adds {number}.").to_row() for number in range(ROWS)]
        rows = await asyncio.gather(*(worker(row) for row in pool))
        await worker._report()
        await worker._client.close()
        await worker._journal.close()
        return rows, board.told

    return asyncio.run(act())


@pytest.mark.parametrize("kind", [OddTeacher, UnnamedRefusals])
def test_odd_replies_become_rows_or_fall(tmp_path: Any, kind: type[ScriptedTeacher]) -> None:
    folder = Folder.open(tmp_path / "journal").make()
    with scripted_teacher(kind=kind) as teacher:
        rows, told = evolve_on_one_worker(teacher, folder)
        counts = teacher.counts()
        again, _ = evolve_on_one_worker(teacher, folder)
        assert teacher.counts()["answered"] == counts["answered"], "no reply is paid for again"
    assert Counter((row["status"], row["reason"]) for row in rows) == {("kept", None): ROWS - 1, ("eliminated", "refused"): 1}
    # What could not be encoded was replaced, and counted, before the journal held it.
    assert again == [row | {"replaced_characters": 0} for row in rows]
    kept = [row for row in rows if row["status"] == "kept"]
    assert all(row["response"].endswith(" \ufffd") and "think" not in row["response"] for row in kept)
    assert [warning for warning in told.warnings if "refuses some requests (400 " in warning]
    sink = _AttemptSink(Folder.open(tmp_path / "attempt").make(), 3)
    changes = sink.write([pa.Table.from_pylist(rows)], SimpleNamespace(task_idx=0))
    sink.on_write_complete(SimpleNamespace(write_returns=[changes]))
    assert sink.changes["replies_with_thinking"] == sink.changes["replaced_characters"] == counts["answered"] == 2 * (ROWS - 1)


def test_journals_of_earlier_versions_may_hold_texts_that_cannot_be_encoded(tmp_path: Any) -> None:
    folder = Folder.open(tmp_path / "journal").make()
    with scripted_teacher() as teacher:
        first, _ = evolve_on_one_worker(teacher, folder)
        for name in (folder / "01").names():
            data = (folder / "01").read_bytes(name)
            lines = [json.loads(line) for line in data.splitlines()]
            spoilt = [json.dumps(line | {"text": line["text"] + "\ud83d"}, separators=(",", ":")) for line in lines]
            (folder / "01").write_bytes(name, "".join(f"{line}\n" for line in spoilt).encode("ascii"))
        rows, _ = evolve_on_one_worker(teacher, folder)
    assert [row["instruction"] for row in rows] == [f"{row['instruction']}\ufffd" for row in first]
