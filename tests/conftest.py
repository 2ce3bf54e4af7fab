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


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--third", type=int, choices=range(3), help="every third of the selected tests, from this one on")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    third = config.getoption("--third")
    if third is not None:
        chosen = items[third::3]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


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
