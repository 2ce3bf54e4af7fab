"""The jobs as a user submits them: a head with token authentication, and ``ray job submit`` from a fresh shell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml
from tests.ports import free_port

from evolcoder.endpoint.scripted.server import scripted_teacher
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import read_manifest

ROOT = Path(__file__).resolve().parents[2]
RAY = Path(sys.executable).with_name("ray")
START_SECONDS = 120
STOP_SECONDS = 60
JOB_SECONDS = 240


@dataclass(frozen=True)
class Head:
    address: str
    environment: dict[str, str]

    def submit(self, *entrypoint: str) -> subprocess.CompletedProcess[str]:
        """What a user types in the repository's root; waits for the job's end."""
        command = [str(RAY), "job", "submit", "--address", self.address, "--working-dir", ".", "--", *entrypoint]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, text=True, timeout=JOB_SECONDS,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip


def processes_under(folder: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(folder in part for part in process.cmdline()):
                found.append(process)
    return found


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A head with a token in a home of its own, its ports free ones, stopped with all that it started."""
    with tempfile.TemporaryDirectory(prefix="evr", ignore_cleanup_errors=True) as folder:  # short: Ray puts sockets below it
        environment = {
            "HOME": folder,
            "PATH": f"{RAY.parent}:{os.environ['PATH']}",  # an activated environment: the head runs `python` of its own PATH
            "RAY_AUTH_MODE": "token",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        subprocess.run([RAY, "get-auth-token", "--generate"], env=environment, check=True, capture_output=True, timeout=60)
        port = free_port()
        log = Path(folder, "head.log")
        process = subprocess.Popen(
            [
                RAY, "start", "--head", "--block", "--num-cpus=2", "--object-store-memory=200000000", f"--temp-dir={folder}/r",
                "--dashboard-host=127.0.0.1", f"--dashboard-port={port}", f"--port={free_port()}",
                f"--ray-client-server-port={free_port()}", f"--dashboard-agent-listen-port={free_port()}",
                f"--dashboard-agent-grpc-port={free_port()}", f"--metrics-export-port={free_port()}",
                f"--runtime-env-agent-port={free_port()}",
            ],
            env=environment, start_new_session=True, stdout=log.open("wb"), stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            address = f"http://127.0.0.1:{port}"
            if not _is_ready(process, address, Path(folder, ".ray/auth_token").read_text("ascii").strip()):
                pytest.fail(f"the head did not start: {log.read_text('utf-8')[-3000:]}")
            yield Head(address, environment)
        finally:
            _stop(process, folder)


def _is_ready(process: subprocess.Popen[bytes], address: str, token: str) -> bool:
    request = urllib.request.Request(f"{address}/api/jobs/", headers={"Authorization": f"Bearer {token}"})
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(request, timeout=10):
            return True
        time.sleep(0.5)
    return False


def _stop(process: subprocess.Popen[bytes], folder: str) -> None:
    """``ray stop`` would end every Ray of this machine; the head ends what it started when it is told to."""
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for left in processes_under(folder):
        with suppress(psutil.Error):
            left.kill()


def write_run(folder: Path, base_url: str) -> Path:
    run = {
        "name": "submitted",
        "storage": str(folder / "runs"),
        "seeds": {"path": "packaged", "limit": 4},
        "teacher": {"base_url": base_url, "model": "scripted-teacher"},
        "evolve": {"rounds": 1, "workers": 1},
    }
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(run), "utf-8")
    return file


@pytest.mark.slow
@pytest.mark.cluster
def test_a_submitted_run_is_made_once(head: Head, tmp_path: Path) -> None:
    with scripted_teacher() as teacher:
        run = write_run(tmp_path, teacher.base_url)
        first = head.submit("python", "jobs/evolve.py", str(run))
        assert first.returncode == 0, first.stdout
        assert "training set: 8 rows" in first.stdout, first.stdout
        asked = teacher.counts()["requests"]
        assert asked == 8
        made = read_manifest(Folder.open(tmp_path / "runs/submitted/dataset"))
        assert made is not None
        assert made.rows == 8

        second = head.submit("python", "jobs/evolve.py", str(run))
        assert second.returncode == 0, second.stdout
        assert "no request is sent" in second.stdout
        assert teacher.counts()["requests"] == asked
        assert read_manifest(Folder.open(tmp_path / "runs/submitted/dataset")) == made


@pytest.mark.slow
@pytest.mark.cluster
def test_a_wrong_key_fails_the_job_with_one_sentence(head: Head, tmp_path: Path) -> None:
    run = write_run(tmp_path, "http://127.0.0.1:9/v1")
    failed = head.submit("python", "jobs/train.py", str(run), "train.max_stepps=3")
    assert failed.returncode != 0
    assert "unknown key 'train.max_stepps' (did you mean train.max_steps?)" in failed.stdout
    assert "exit code 2" in failed.stdout
    assert "Traceback" not in failed.stdout


@pytest.mark.slow
@pytest.mark.cluster
def test_nobody_submits_without_the_token(head: Head) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{head.address}/api/jobs/", timeout=30)
