"""The scripted teacher's Batch API: files, and batches that end ``batch_seconds`` after they were made.

Each line of a batch meets the script's faults as a request would: statuses become the line's own, whatever cuts a reply
short becomes an expired line.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from evolcoder.storage.hashes import stable_hash

if TYPE_CHECKING:
    from evolcoder.endpoint.scripted.server import ScriptedTeacher

_STATUSES = {"retry_after": 429, "rate_limited": 429, "error_500": 500, "error_503": 503}
_LOST = frozenset({"dropped", "truncated_json", "html"})


class BatchEndpoints:
    """Files and batches of one teacher, in memory."""

    def __init__(self, teacher: ScriptedTeacher, app: web.Application) -> None:
        self._teacher = teacher
        self._files: dict[str, bytes] = {}
        self._batches: dict[str, dict[str, Any]] = {}
        self._ends: set[asyncio.Task[None]] = set()
        app.router.add_post("/v1/files", self._keep_file)
        app.router.add_get("/v1/files/{file}/content", self._show_file)
        app.router.add_post("/v1/batches", self._make_batch)
        app.router.add_get("/v1/batches", self._list_batches)
        app.router.add_get("/v1/batches/{batch}", self._show_batch)

    async def _keep_file(self, request: web.Request) -> web.Response:
        form = await request.post()
        field = form["file"]
        data = field.file.read() if isinstance(field, web.FileField) else str(field).encode()
        return web.json_response({**self._file(data), "purpose": str(form["purpose"])})

    async def _show_file(self, request: web.Request) -> web.Response:
        return web.Response(body=self._files[request.match_info["file"]])

    async def _make_batch(self, request: web.Request) -> web.Response:
        asked = await request.json()
        name = f"batch_{len(self._batches)}"
        self._batches[name] = {
            "id": name,
            "object": "batch",
            "status": "in_progress",
            "created_at": int(time.time()),
            "output_file_id": None,
            "error_file_id": None,
            "errors": None,
            "request_counts": {"total": self._files[asked["input_file_id"]].count(b"\n"), "completed": 0, "failed": 0},
            **asked,
        }
        task = asyncio.get_running_loop().create_task(self._end(name))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)
        return web.json_response(self._batches[name])

    async def _list_batches(self, request: web.Request) -> web.Response:
        names = sorted(self._batches, key=lambda name: -int(name.removeprefix("batch_")))
        after = request.query.get("after")
        names = names[names.index(after) + 1 :] if after in names else names
        limit = int(request.query.get("limit", "20"))
        page = [self._batches[name] for name in names[:limit]]
        return web.json_response({"object": "list", "data": page, "has_more": len(names) > limit})

    async def _show_batch(self, request: web.Request) -> web.Response:
        return web.json_response(self._batches[request.match_info["batch"]])

    async def _end(self, name: str) -> None:
        batch = self._batches[name]
        await asyncio.sleep(self._teacher.script.batch_seconds)
        good: list[dict[str, Any]] = []
        bad: list[dict[str, Any]] = []
        for line in self._files[batch["input_file_id"]].splitlines():
            outcome = self._outcome(json.loads(line))
            (bad if outcome["response"] is None or outcome["response"]["status_code"] != 200 else good).append(outcome)
        for key, outcomes in (("output_file_id", good), ("error_file_id", bad)):
            if outcomes:
                batch[key] = self._file(b"".join(json.dumps(one).encode() + b"\n" for one in outcomes))["id"]
        batch["request_counts"].update(completed=len(good), failed=len(bad))
        batch["status"] = "completed"

    def _outcome(self, line: Mapping[str, Any]) -> dict[str, Any]:
        body = line["body"]
        request_hash = stable_hash(line["url"], json.dumps(body, sort_keys=True))
        fault = self._teacher.draw_fault(request_hash)
        found: dict[str, Any] = {"custom_id": line["custom_id"], "response": None, "error": None}
        if fault in _LOST:
            return found | {"error": {"code": "batch_expired", "message": "This request could not be executed in time."}}
        if fault in _STATUSES:
            said = {"error": {"message": "The server had an error.", "code": "server_error"}}
            return found | {"response": {"status_code": _STATUSES[fault], "body": said}}
        completion = self._teacher.completion(True, body, request_hash, fault)
        self._teacher.good_replies[request_hash] += 1
        return found | {"response": {"status_code": 200, "body": completion}}

    def _file(self, data: bytes) -> dict[str, Any]:
        name = f"file_{len(self._files)}"
        self._files[name] = data
        return {"id": name, "object": "file", "bytes": len(data), "created_at": int(time.time()), "filename": "lines.jsonl"}
