from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from evolcoder import verbs
from evolcoder.console import Reporter
from evolcoder.evaluate.extraction import READING_VERSION
from evolcoder.evaluate.running_version import RUNNING_VERSION
from evolcoder.records import COMPLETION_SCHEMA, VERDICT_SCHEMA, Completion, Verdict
from evolcoder.storage.arrow_files import arrow_bytes
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Stage
from evolcoder.study.rules import different_rules

VERSIONS = {"reading_version": READING_VERSION, "running_version": RUNNING_VERSION}
SETTINGS = {
    "limit": None,
    "leave_out": [],
    "samples": 1,
    "temperature": 0.0,
    "top_p": 0.95,
    "max_tokens": 512,
    "style": "chat",
    "extraction": "chat",
    "seed": 0,
    "timeout_seconds": 10.0,
    "prompt": "humaneval-chat-1",
    "stops": [],
}
LIMITS = {"memory_bytes": 1 << 30, "threads": 32}


def evaluation(place: Path, program: str = "def f():\n    return 1\n", without: tuple[str, ...] = (), **changed: Any) -> Folder:
    """A finished one of one problem. ``without`` are versions that it does not record."""
    folder = Folder.open(place).make()
    limits = LIMITS | changed.pop("sandbox_limits", {})
    identity = {name: value for name, value in {**SETTINGS, **VERSIONS, **changed}.items() if name not in without}
    score = {"benchmark": "humaneval", "benchmark_version": "v1", "style": identity["style"], "samples": 1}
    folder.write_text("score.json", json.dumps({**score, "settings": {**identity, "sandbox_limits": limits}}))
    answer = Completion("H/1", 0, "", f"```python\n{program}```", "stop", 1, 1, "answer")
    folder.write_bytes("completions.arrow", arrow_bytes([answer.to_row()], COMPLETION_SCHEMA))
    verdict = Verdict("H/1", 0, "passed", "passed", None, "", program, 0.0, 0.0)
    folder.write_bytes("verdicts.arrow", arrow_bytes([verdict.to_row()], VERDICT_SCHEMA))
    Stage("evaluate", folder, identity).publish(["score.json", "completions.arrow", "verdicts.arrow"])
    return folder


def test_the_same_rules_are_no_difference(tmp_path: Path) -> None:
    first, second = evaluation(tmp_path / "a"), evaluation(tmp_path / "b", limit=32, seed=7, top_p=0.5)
    assert different_rules(first, second) == []  # which problems, and what greedy answers do not depend on


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"extraction": "sanitize"}, "extraction: chat against sanitize"),
        ({"reading_version": READING_VERSION + 1}, f"reading_version: {READING_VERSION} against {READING_VERSION + 1}"),
        ({"running_version": 1}, f"running_version: {RUNNING_VERSION} against 1"),
        ({"timeout_seconds": 4.0}, "timeout_seconds: 10.0 against 4.0"),
        ({"max_tokens": 64}, "max_tokens: 512 against 64"),
        ({"stops": ["\n#"]}, 'stops: [] against ["\\n#"]'),
        ({"thinking_marks": [["<a>", "</a>"]]}, 'thinking_marks: [] against [["<a>", "</a>"]]'),
        ({"sandbox_limits": {"threads": 4}}, "sandbox_limits.threads: 32 against 4"),
    ],
)
def test_each_rule_that_differs_is_told(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    assert different_rules(evaluation(tmp_path / "a"), evaluation(tmp_path / "b", **changed)) == [said]


def test_a_style_is_told_without_its_prompt_and_stops(tmp_path: Path) -> None:
    other = evaluation(tmp_path / "b", style="base", prompt="humaneval-base", stops=["\n#"])
    assert different_rules(evaluation(tmp_path / "a"), other) == ["style: chat against base"]


def test_seeds_and_top_p_count_where_answers_are_drawn(tmp_path: Path) -> None:
    first = evaluation(tmp_path / "a", temperature=0.2, samples=10)
    second = evaluation(tmp_path / "b", temperature=0.2, samples=10, seed=1)
    assert different_rules(first, second) == ["seed: 0 against 1"]


def test_what_was_made_before_versions_counts_as_todays_where_it_would_fare_alike(tmp_path: Path) -> None:
    old = evaluation(tmp_path / "old", without=("running_version",))
    assert different_rules(old, evaluation(tmp_path / "new")) == []
    sees_more = "import sys\ndef f():\n    return sys.argv\n"
    other = evaluation(tmp_path / "other", sees_more, without=("running_version",))
    said = f"running_version: {RUNNING_VERSION} against not recorded"
    assert different_rules(evaluation(tmp_path / "new-too"), other) == [said]
    assert different_rules(old, other) == []  # both by the rules of that time


def test_compare_warns_and_compares_all_the_same(tmp_path: Path) -> None:
    stream = io.StringIO()
    first, second = evaluation(tmp_path / "a"), evaluation(tmp_path / "b", extraction="sanitize")
    verbs.compare([first, second], Reporter("plain", stream))
    assert "b were made by different rules, which may be what differs: extraction: chat against sanitize" in stream.getvalue()
    assert "95 % interval" in stream.getvalue()
    stream = io.StringIO()
    verbs.compare([first, first], Reporter("plain", stream))
    assert "warning" not in stream.getvalue()
