"""``cluster.yaml``: Ray accepts it, it is closed to strangers, it costs little at rest, and it installs the pinned versions."""

from __future__ import annotations

import copy
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
CLUSTER: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text("utf-8"))
STARTS = [c for key in ("head_start_ray_commands", "worker_start_ray_commands") for c in CLUSTER[key] if "ray start" in c]


def validate(config: dict[str, Any]) -> dict[str, Any]:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared: dict[str, Any] = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


def test_ray_accepts_it_and_its_defaults_add_no_command() -> None:
    prepared = validate(CLUSTER)
    commands = [c for key, value in prepared.items() if key.endswith("_commands") for c in value]
    assert not any("nightly" in c or "dev0" in c or "0.0.0.0" in c for c in commands)
    assert prepared["head_start_ray_commands"] == CLUSTER["head_start_ray_commands"]


def test_ray_refuses_a_misspelt_key() -> None:
    """So that the test above can fail."""
    import jsonschema

    for misspelt in ({"idle_timeout_minuts": 5}, {"available_node_types": {"head": {"node_config": {}}}}):
        with pytest.raises(jsonschema.ValidationError):
            validate(CLUSTER | misspelt)


def test_at_rest_there_is_only_a_head_and_it_takes_no_work() -> None:
    types = CLUSTER["available_node_types"]
    head = types[CLUSTER["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert "InstanceMarketOptions" not in head["node_config"]
    workers = {name: kind for name, kind in types.items() if name != CLUSTER["head_node_type"]}
    assert set(workers) == {"cpu", "gpu"}
    assert all(kind["min_workers"] == 0 for kind in workers.values())
    assert "GPU" not in workers["cpu"]["resources"]
    assert workers["gpu"]["resources"]["GPU"] > 0
    assert sum(kind["max_workers"] for kind in workers.values()) <= CLUSTER["max_workers"]
    assert 0 < CLUSTER["idle_timeout_minutes"] <= 15


def test_every_node_wants_the_token_and_nothing_listens_for_strangers() -> None:
    assert len(STARTS) == 2
    assert all("RAY_AUTH_MODE=token ray start" in command for command in STARTS)
    assert "--dashboard-host=127.0.0.1" in STARTS[0]
    assert CLUSTER["file_mounts"]["/home/ubuntu/.ray/auth_token"] == "~/.ray/auth_token"
    assert not re.search(r"RAY_AUTH_TOKEN\s*=|0\.0\.0\.0", (ROOT / "cluster.yaml").read_text("utf-8"))


def test_versions_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = next(d.partition("==")[2] for d in project["dependencies"] if d.startswith("ray["))
    setup = "\n".join(CLUSTER["setup_commands"])
    assert f" ray=={wanted} " in setup
    assert f"ray=={wanted}" in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert "--constraint ~/evolcoder/constraints.txt" in setup
    minor = int(project["requires-python"].removeprefix(">=3."))
    assert {int(found) >= minor for found in re.findall(r"python3\.(\d+)", setup)} == {True}


def test_what_is_mounted_is_there_and_is_enough_to_install_from() -> None:
    mounts = {remote: local for remote, local in CLUSTER["file_mounts"].items() if not local.startswith("~")}
    assert all((ROOT / local).exists() for local in mounts.values())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    needed = {"pyproject.toml", "constraints.txt", project["project"]["readme"], *project["project"]["license-files"]}
    needed |= set(project["tool"]["setuptools"]["packages"]["find"]["where"])
    assert {f"/home/ubuntu/evolcoder/{name}" for name in needed} == set(mounts)
