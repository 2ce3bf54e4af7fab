"""A verb as a submitted Ray job: what a script of ``jobs/`` calls once it has found this package."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from evolcoder import verbs
from evolcoder.console import Reporter
from evolcoder.errors import SettingsError
from evolcoder.exits import guarded
from evolcoder.settings.files import load_settings
from evolcoder.settings.run import RunSettings


def run_job(verb: str, arguments: Sequence[str]) -> int:
    """Run a verb as ``RUN.yaml key=value ...`` asks; returns the exit code. Expected failures print one sentence."""
    if not arguments:
        sys.stderr.write("error: name the run's YAML file, then any section.key=value overrides.\n")
        return 2

    def act() -> None:
        reporter = Reporter()
        settings = load_settings(arguments[0], arguments[1:])
        if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
            settings = with_lasting_storage(settings, reporter)
        getattr(verbs, verb)(settings, reporter, shlex.join(arguments))

    return guarded(act, again="the same command")


def with_lasting_storage(settings: RunSettings, reporter: Reporter) -> RunSettings:
    """A submitted job runs in a copy of the uploaded folder, which Ray deletes, and a relative path would lie inside it.

    On one machine it is taken below the home folder instead; on several no relative path can be meant.

    Raises:
        SettingsError: the storage is relative and the cluster has several machines.
    """
    from evolcoder.cluster import machine_count, ray_session

    storage = settings.storage
    if "://" in storage or Path(storage).expanduser().is_absolute():
        return settings
    with ray_session():
        machines = machine_count()
    if machines > 1:
        raise SettingsError(
            f"storage={storage} is relative, which means nothing on a cluster of {machines} machines; set storage to "
            "s3://bucket/prefix, or to an absolute path that every machine shares."
        )
    kept = Path.home() / "evolcoder" / storage
    reporter.warn(f"storage={storage} is relative and the folder of a submitted job is temporary: the run is kept in {kept}")
    return settings.model_copy(update={"storage": str(kept)})
