"""The command line as its users meet it: real processes, real exit codes, one sentence for each mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest


def evolcoder(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "evolcoder.cli", *arguments]
    return subprocess.run(command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300)


def sentence(result: subprocess.CompletedProcess[str]) -> str:
    """The one line of a failure; a traceback fails the test."""
    assert result.returncode != 0
    assert "Traceback" not in result.stderr + result.stdout
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert line.endswith((".", ")"))
    return line


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    assert evolcoder("init", "real", "--preset", "laptop", cwd=tmp_path).returncode == 0
    return tmp_path / "real.yaml"


def test_init_writes_a_commented_file_that_loads(run_file: Path) -> None:
    text = run_file.read_text()
    assert "name: real" in text
    assert text.count("#") > 10
    assert evolcoder("status", "real.yaml", cwd=run_file.parent).returncode == 0


def test_the_version_is_said_from_anywhere(tmp_path: Path) -> None:
    shown = evolcoder("--version", cwd=tmp_path)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, f"evolcoder {version('evolcoder')}\n", "")


def test_init_never_replaces_a_file_unasked(run_file: Path) -> None:
    run_file.write_text("mine")
    assert "already there" in sentence(evolcoder("init", "real", cwd=run_file.parent))
    assert run_file.read_text() == "mine"
    assert evolcoder("init", "real", "--force", cwd=run_file.parent).returncode == 0


@pytest.mark.parametrize("name", ["../up", "a/b", "", "-x y"])
def test_a_name_cannot_leave_the_storage(tmp_path: Path, name: str) -> None:
    assert evolcoder("init", "--", name, cwd=tmp_path).returncode == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("evolve.ronds=2", "did you mean evolve.rounds?"),
        ("teecher.model=x", "did you mean teacher?"),
        ("evolve.rounds=many", "evolve.rounds"),
        ("evolve.operators=[constraint]", "did you mean constraints?"),
        ("evolve.rounds", "section.key=value"),
        ("train.micro_batch_size=3", "multiple of"),
        ("evaluate.samples=4", "raise the temperature"),
        ("teacher.budget_usd=1", "usd_per_million_input_tokens"),
        ("teacher.model=gpt-4", "teacher.base_url"),
        ("train.epochs=2", "exactly one of train.max_steps and train.epochs"),
    ],
)
def test_a_wrong_override_is_one_sentence(run_file: Path, override: str, expected: str) -> None:
    result = evolcoder("status", "real.yaml", override, cwd=run_file.parent)
    assert result.returncode == 2
    assert expected in sentence(result)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("name: [", "not readable as YAML"),
        ("- a\n- b\n", "key: value"),
        ("storage: runs\n", "'name' is missing"),
        ("", "'name' is missing"),
    ],
)
def test_a_malformed_file_is_one_sentence(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "bad.yaml").write_text(content)
    assert expected in sentence(evolcoder("evolve", "bad.yaml", cwd=tmp_path))


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    assert "evolcoder init" in sentence(evolcoder("evolve", "none.yaml", cwd=tmp_path))


def test_environment_wins_over_the_file_and_the_command_line_over_both(run_file: Path) -> None:
    where, key = run_file.parent, {"EVOLCODER__EVOLVE__ROUNDS": "5"}
    assert "round 5" in evolcoder("status", "real.yaml", cwd=where, **key).stdout
    assert "round 5" not in evolcoder("status", "real.yaml", "evolve.rounds=1", cwd=where, **key).stdout


def test_training_without_a_data_set_says_what_to_run(run_file: Path) -> None:
    assert "evolcoder evolve" in sentence(evolcoder("train", "real.yaml", cwd=run_file.parent))


def test_serving_a_run_that_is_not_trained_says_what_to_run(run_file: Path) -> None:
    assert "evolcoder train" in sentence(evolcoder("serve", "real.yaml", cwd=run_file.parent))


def test_reporting_an_empty_run_says_what_to_run(run_file: Path) -> None:
    assert "no finished stage" in sentence(evolcoder("report", "real.yaml", cwd=run_file.parent))


def test_a_run_folder_that_cannot_be_written_is_one_sentence(run_file: Path) -> None:
    blocked = run_file.parent / "file"
    blocked.write_text("")
    assert "cannot be written" in sentence(evolcoder("evolve", "real.yaml", f"storage={blocked}", cwd=run_file.parent))


def test_evaluate_needs_to_know_what(tmp_path: Path) -> None:
    assert "--endpoint" in sentence(evolcoder("evaluate", cwd=tmp_path))
    assert "--model" in sentence(evolcoder("evaluate", "--endpoint", "http://127.0.0.1:9/v1", cwd=tmp_path))


def test_a_dead_endpoint_is_one_sentence(tmp_path: Path) -> None:
    result = evolcoder("evaluate", "--endpoint", "http://127.0.0.1:9/v1", "--model", "m", cwd=tmp_path)
    assert "127.0.0.1:9" in sentence(result)


def test_plan_counts_two_calls_a_row_and_round(run_file: Path) -> None:
    shown = evolcoder("plan", "real.yaml", "seeds.limit=10", "evolve.rounds=3", "--output", "json", cwd=run_file.parent)
    assert shown.returncode == 0, shown.stderr
    assert '{"": "calls", "low": null, "likely": 60, "high": null}' in shown.stdout


def test_no_verb_prints_a_key(run_file: Path) -> None:
    where = run_file.parent
    result = evolcoder("plan", "real.yaml", cwd=where, OPENAI_API_KEY="sk-very-secret")
    written = "".join(p.read_text(errors="replace") for p in where.rglob("*") if p.is_file())
    assert "sk-very-secret" not in result.stdout + result.stderr + written
