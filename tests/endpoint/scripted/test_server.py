"""The scripted teacher keeps its own promises: the same replies, and faults at their rates."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from tests.ports import free_port

from evolcoder.endpoint.scripted.server import FAULTS, Script, scripted_teacher
from evolcoder.storage.hashes import stable_hash


def post(base_url: str, body: dict[str, object]) -> dict[str, object]:
    request = urllib.request.Request(
        f"{base_url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


def test_the_same_request_has_the_same_reply_in_another_process() -> None:
    body = {"model": Script.model, "messages": [{"role": "user", "content": "q"}], "max_tokens": 50}
    port = free_port()
    command = [sys.executable, "-m", "evolcoder.endpoint.scripted", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        there = post(process.stdout.readline().strip(), body)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
    with scripted_teacher() as teacher:
        here = post(teacher.base_url, body)
        assert post(teacher.base_url, body) == here == there
        assert post(teacher.base_url, {**body, "seed": 2}) != here
        counts = teacher.counts()
    assert (counts["requests"], counts["distinct"], counts["repeats"], counts["answered_again"]) == (3, 2, 1, 1)


def test_faults_come_at_their_rates_and_asking_again_draws_again() -> None:
    script = Script(faults={"error_500": 0.1, "empty": 0.2})
    hashes = [stable_hash(str(number)) for number in range(4000)]
    first = [script.fault(h, 0) for h in hashes]
    assert 0.07 < first.count("error_500") / 4000 < 0.13
    assert 0.16 < first.count("empty") / 4000 < 0.24
    second = [script.fault(h, 1) for h in hashes]
    assert [f == "empty" for f in first] == [f == "empty" for f in second], "a reply's content stays"
    assert [f == "error_500" for f in first] != [f == "error_500" for f in second]


def test_who_comes_before_retry_after_is_refused_again_and_counted() -> None:
    body: dict[str, object] = {"model": Script.model, "messages": [{"role": "user", "content": "q"}], "max_tokens": 50}
    with scripted_teacher(Script(faults={"retry_after": 1.0}, retry_after_seconds=0.5)) as teacher:
        for _ in range(2):
            with pytest.raises(urllib.error.HTTPError, match="429"):
                post(teacher.base_url, body)
        time.sleep(0.6)
        assert post(teacher.base_url, body)["choices"]
        counts = teacher.counts()
    assert (counts["requests"], counts["early"], counts["answered"]) == (3, 1, 1)


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(ValueError, match=FAULTS[0]):
        Script(faults={"typo": 0.1})
    with pytest.raises(ValueError, match="at most 1"):
        Script(faults={"empty": 1.5})
