"""A model behind an endpoint that answers HumanEval from a script, and counts what it is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from evolcoder.endpoint.requests import Endpoint
from evolcoder.evaluate.benchmarks.base import Problem
from evolcoder.evaluate.benchmarks.humaneval import HumanEval

Answer = Callable[[Problem], str]


class OracleModel:
    """Serves both completion APIs. ``answer`` makes the text; ``fail_after`` answers 500 once so many were answered."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.answer: Answer = lambda problem: problem.canonical_solution
        self.fail_after: int | None = None
        self.lock = threading.Lock()
        self._problems = HumanEval().problems()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(f"http://127.0.0.1:{self._server.server_port}/v1", "oracle", None, 30.0, 1)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reply(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self.lock:
            if self.fail_after is not None and len(self.requests) >= self.fail_after:
                return 400, {"error": {"message": "the script says no"}}
            self.requests.append({"path": path, **body})
        chat = path.endswith("/chat/completions")
        prompt = body["messages"][-1]["content"] if chat else body["prompt"]
        flat = "".join(prompt.split())
        problem = max((p for p in self._problems if "".join(p.prompt.split()) in flat), key=lambda p: len(p.prompt))
        text = self.answer(problem)
        choice = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        usage = {"prompt_tokens": 7, "completion_tokens": 5}
        return 200, {"choices": [{"index": 0, "finish_reason": "stop", **choice}], "usage": usage}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, reply = model.reply(self.path, body)
                data = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


@pytest.fixture
def oracle() -> Iterator[OracleModel]:
    model = OracleModel()
    yield model
    model.close()
