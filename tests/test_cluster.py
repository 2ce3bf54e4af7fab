from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from evolcoder import cluster
from evolcoder.cluster import ray_kept, ray_session

USE_RAY = """
from evolcoder.cluster import ray_kept
from evolcoder.cluster import ray_session
with ray_kept():
    for _ in range(2):
        with ray_session():
            import ray
            print(ray.get_runtime_context().get_job_id(), ray.get(ray.remote(lambda: 42).remote()))
print(ray.is_initialized())
"""


def environment(home: Path, **extra: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
    return kept | {"HOME": str(home), "EVOLCODER_CACHE": str(home / "cache")} | extra


@pytest.mark.slow
def test_sessions_share_a_kept_ray_that_leaves_the_home_folder_alone(tmp_path: Path) -> None:
    """A token in ~/.ray would make the user's next `ray start` ask for it."""
    shown = subprocess.run(
        [sys.executable, "-c", USE_RAY], env=environment(tmp_path), capture_output=True, text=True, timeout=120
    )
    assert shown.returncode == 0, shown.stderr
    first, second, after = shown.stdout.splitlines()
    assert first == second
    assert first.endswith(" 42")
    assert after == "False"
    assert not (tmp_path / ".ray" / "auth_token").exists()
    token = tmp_path / "cache" / "ray_auth_token"
    assert len(token.read_text()) == 64
    assert stat.S_IMODE(token.stat().st_mode) == 0o600


def test_the_users_own_way_to_authenticate_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EVOLCODER_CACHE", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    cluster._use_own_token()
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_dead_cluster_is_one_sentence(tmp_path: Path) -> None:
    code = (
        "from evolcoder.cluster import ray_session\nfrom evolcoder.errors import ClusterError\n"
        "try:\n    ray_session().__enter__()\nexcept ClusterError as error:\n    print(error.message)"
    )
    dead = environment(tmp_path, RAY_ADDRESS="127.0.0.1:1", RAY_AUTH_MODE="disabled")
    shown = subprocess.run([sys.executable, "-c", code], env=dead, capture_output=True, text=True, timeout=120)
    (line,) = shown.stdout.splitlines()
    assert line.startswith("The Ray cluster at 127.0.0.1:1 does not answer")


def test_nothing_is_started_when_no_session_is_opened() -> None:
    ray = sys.modules.get("ray")
    before = ray is not None and ray.is_initialized()
    with ray_kept():
        pass
    ray = sys.modules.get("ray")
    assert (ray is not None and ray.is_initialized()) == before


@pytest.mark.slow
def test_a_ray_that_was_there_before_outlives_those_who_use_it(local_ray: None) -> None:
    import ray

    with ray_kept(), ray_kept(), ray_session():
        pass
    assert ray.is_initialized()
