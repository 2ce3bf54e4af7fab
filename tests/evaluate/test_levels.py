"""What a score says about the sandbox that its programs ran in."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from evolcoder.console import Reporter
from evolcoder.evaluate.benchmarks.humaneval import HumanEval
from evolcoder.evaluate.pipeline import evaluate_samples
from evolcoder.sandbox.inside import landlock
from evolcoder.sandbox.isolation import Level
from evolcoder.settings.run import EvaluateSettings
from evolcoder.storage.folders import Folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("level", "said"), [("bubblewrap", ""), ("landlock", "could see which files and processes exist"), ("none", "not isolated")]
)
def test_the_score_names_the_level_and_what_it_does_not_give(level: Level, said: str, local_ray: None, tmp_path: Path) -> None:
    if level == "landlock" and landlock.version() == 0:
        pytest.skip("this kernel has no Landlock")
    problem = HumanEval().problems()[0]
    samples = tmp_path / "samples.jsonl"
    samples.write_text(json.dumps({"task_id": problem.task_id, "completion": problem.canonical_solution}))
    out, shown = Folder.open(tmp_path / "out"), io.StringIO()
    score = evaluate_samples(
        samples, "humaneval", "none", out, EvaluateSettings(workers=1, sandbox=level), Reporter("plain", shown)
    )
    assert score.value == 1.0
    data = json.loads(out.read_text("score.json"))
    assert data["settings"]["sandbox"] == level
    warnings = [text for text in data["warnings"] if "isolated" in text]
    assert len(warnings) == (1 if said else 0)
    assert all(said in text and f"evaluate.sandbox={level}" in text for text in warnings)
    assert said in shown.getvalue()
