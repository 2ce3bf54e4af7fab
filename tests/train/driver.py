"""Trains what a run's study asks for in a process of its own: ``driver.py SETTINGS_JSON BASE_MODEL together|apart``.

Says what happens as JSON lines. ``apart`` trains one model after the other, as a machine that has no room for two does.
"""

from __future__ import annotations

import sys
from pathlib import Path

from evolcoder.cluster import ray_session
from evolcoder.console import Reporter
from evolcoder.exits import guarded
from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import run_variants
from evolcoder.settings.run import RunSettings
from evolcoder.storage.stage import Stage
from evolcoder.train.identity import train_stage
from evolcoder.train.launch import train
from evolcoder.train.several import train_several


def main() -> int:
    settings = RunSettings.model_validate_json(sys.argv[1])
    base, run = Path(sys.argv[2]), RunFolder.open(settings)
    reporter, dataset = Reporter("json"), Stage("dataset", run.dataset, {})
    trainings = [(train_stage(settings, run, (), dataset, lambda: "base", one), one) for one in run_variants(settings)]

    def act() -> None:
        with ray_session():
            if sys.argv[3] == "together":
                failed = train_several(settings, run, trainings, base, reporter)
                assert not failed, failed
            else:
                for stage, variant in trainings:
                    train(settings, run, stage, base, reporter, variant)

    return guarded(act, again="again")


if __name__ == "__main__":
    sys.exit(main())
