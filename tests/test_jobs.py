"""The entries for ``ray job submit``, run as plain programs; ``cluster/test_jobs.py`` submits them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from evolcoder import cluster
from evolcoder.console import Reporter
from evolcoder.errors import SettingsError
from evolcoder.job import with_lasting_storage
from evolcoder.settings.run import RunSettings

JOBS = sorted((Path(__file__).resolve().parents[1] / "jobs").glob("[a-z]*.py"))


def run(job: Path, *arguments: str, folder: Path, submitted: bool = False, **extra: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"} if submitted else {}) | extra
    return subprocess.run(
        [sys.executable, str(job), *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_there_is_one_for_each_verb_that_works_on_a_cluster() -> None:
    assert [job.stem for job in JOBS] == ["evaluate", "evolve", "serve", "study", "train"]


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.stem)
def test_a_job_is_thin_and_calls_the_verb_of_its_name(job: Path, tmp_path: Path) -> None:
    text = job.read_text("utf-8")
    assert len(text.splitlines()) < 15
    assert f'run_job("{job.stem}", ' in text
    assert f"python jobs/{job.name} RUN.yaml" in text
    ended = run(job, folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: name the run's YAML file")


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.stem)
def test_a_python_without_the_packages_is_one_sentence(job: Path, tmp_path: Path) -> None:
    """As when the head was started without the environment: its jobs run whatever `python` its PATH has."""
    bare = [sys.executable, "-S", "-E", str(job), "run.yaml"]
    ended = subprocess.run(bare, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert "start the Ray head with evolcoder's environment" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_submitted_package_wins_and_no_job_hides_a_package(tmp_path: Path) -> None:
    """A copy of the repository's shape stands in for an upload; a package called `evaluate` is somewhere on the path."""
    for name, text in {
        "upload/jobs/evaluate.py": JOBS[0].read_text("utf-8"),
        "upload/platform/evolcoder/__init__.py": "",
        "upload/jobs/_start.py": JOBS[0].with_name("_start.py").read_text("utf-8"),
        "upload/platform/evolcoder/job.py": "import evaluate\nrun_job = lambda verb, typed: print(evaluate.__file__) or 7",
        "upload/elsewhere/evaluate/__init__.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    elsewhere = tmp_path / "upload/elsewhere/evaluate"
    shown = subprocess.run(
        [sys.executable, "jobs/evaluate.py"], cwd=tmp_path / "upload", capture_output=True, text=True, timeout=60,
        env=os.environ | {"PYTHONPATH": str(elsewhere.parent)},
    )  # fmt: skip
    assert shown.stdout.strip() == str(elsewhere / "__init__.py"), shown.stderr
    assert shown.returncode == 7


@pytest.mark.slow
def test_relative_storage_of_a_submitted_job_outlives_the_upload(tmp_path: Path) -> None:
    """On one machine it is taken below the home folder, and said; no run folder is left in the upload."""
    (tmp_path / "run.yaml").write_text("name: kept\nstorage: runs\nseeds: {path: nowhere.json}\n", "utf-8")
    evolve = next(job for job in JOBS if job.stem == "evolve")
    home = tmp_path / "home"
    ended = run(evolve, "run.yaml", folder=tmp_path, submitted=True, HOME=str(home))
    assert "There is no file or folder nowhere.json" in ended.stderr
    assert "the run is kept in" in ended.stdout
    assert (home / "evolcoder/runs/kept/run.yaml").exists()
    assert not (tmp_path / "runs").exists()


def test_relative_storage_on_several_machines_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ray_session", nullcontext)
    monkeypatch.setattr(cluster, "machine_count", lambda: 3)
    with pytest.raises(SettingsError, match="3 machines"):
        with_lasting_storage(RunSettings(name="x", storage="runs"), Reporter("plain", io.StringIO()))


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("name: x\nevolve: {ruonds: 1}\n", "did you mean evolve.rounds?"),
        ("name: [\n", "is not readable as YAML"),
        ("name: ../x\n", "name="),
    ],
)
def test_a_wrong_yaml_is_one_sentence(tmp_path: Path, yaml: str, said: str) -> None:
    (tmp_path / "run.yaml").write_text(yaml, "utf-8")
    ended = run(JOBS[0], "run.yaml", folder=tmp_path)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1
