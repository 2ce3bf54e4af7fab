from __future__ import annotations

import io
import json
import sys

import pytest

from evolcoder import doctor
from evolcoder.console import Reporter
from evolcoder.errors import SandboxError


def examine() -> tuple[bool, dict[str, dict[str, str]]]:
    stream = io.StringIO()
    healthy = doctor.examine(Reporter("json", stream))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    return healthy, {row["check"]: row for event in events if event["event"] == "table" for row in event["rows"]}


def test_a_machine_that_runs_these_tests_is_healthy() -> None:
    healthy, checks = examine()
    assert healthy
    assert checks["benchmark data"]["detail"] == "HumanEval: 164 problems"
    assert {row["state"] for row in checks.values()} <= {"ok", "warning"}


def test_what_is_missing_is_named_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("ray", "no-such-package"))
    healthy, checks = examine()
    assert not healthy
    assert checks["packages"]["state"] == "missing"
    assert "no-such-package" in checks["packages"]["detail"]


def test_a_check_that_fails_says_its_sentence_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> tuple[doctor.State, str]:
        raise SandboxError("Programs cannot be isolated here.")

    monkeypatch.setattr(doctor, "_sandbox", refuse)
    healthy, checks = examine()
    assert not healthy
    assert checks["sandbox"]["detail"] == "Programs cannot be isolated here."
    assert checks["Ray"]["state"] == "ok"


def test_a_package_that_is_missing_is_named_by_the_check_that_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    healthy, checks = examine()
    assert not healthy
    assert checks["processors"]["detail"] == "it needs the package torch; run `make install`"
    assert checks["sandbox"]["state"] == "ok"
