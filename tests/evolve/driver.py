"""Evolves a run in a process of its own: ``driver.py SETTINGS_JSON BASE_URL``; prints the rounds' content hashes last."""

from __future__ import annotations

import json
import sys

from evolcoder.console import Reporter
from evolcoder.endpoint.requests import Endpoint
from evolcoder.evolve.rounds.pipeline import evolve
from evolcoder.exits import guarded
from evolcoder.run.folder import RunFolder
from evolcoder.settings.files import parse_settings


def main() -> int:
    settings = parse_settings(json.loads(sys.argv[1]), "the test")
    endpoint = Endpoint(sys.argv[2], settings.teacher.model, timeout_seconds=20)

    def act() -> None:
        manifests = evolve(settings, RunFolder.open(settings), [endpoint], Reporter("plain", sys.stderr))
        print(json.dumps([manifest.content_hash for manifest in manifests]))  # noqa: T201

    return guarded(act, again="again")


if __name__ == "__main__":
    sys.exit(main())
