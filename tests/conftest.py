"""What every test shares: no keys in the environment, a Ray of our own, the benchmark data when it is there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("evolcoder", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("evolcoder")


def _reaches_outside(variable: str) -> bool:
    return variable.endswith("_API_KEY") or variable in {"HF_TOKEN", "RAY_ADDRESS"} or variable.startswith("EVOLCODER__")


for _variable in filter(_reaches_outside, list(os.environ)):
    del os.environ[_variable]
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One Ray on this machine for all tests that need it."""
    from evolcoder.cluster import ray_session

    with ray_session():
        yield


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The public benchmark data; tests that need it are skipped without it."""
    folder = os.environ.get("EVOLCODER_DATA")
    if not folder:
        pytest.skip("EVOLCODER_DATA is not set")
    return Path(folder)
