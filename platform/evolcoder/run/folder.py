"""The run folder: where each stage keeps its files, and the lock that keeps two of one stage apart."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from evolcoder.errors import RunBusyError
from evolcoder.settings.run import RunSettings
from evolcoder.settings.section import AUTO
from evolcoder.storage.folders import Folder, explain_write_errors


class RunFolder:
    """``<storage>/<name>`` and the places inside it."""

    def __init__(self, root: Folder) -> None:
        self.root = root
        self.journal = root / "journal"
        self.dataset = root / "dataset"
        self.evol_stop = root / "evol_stop"
        """Where it is decided how many rounds there are, when ``evolve.rounds`` is ``auto``."""
        self.report = root / "report"

    @classmethod
    def open(cls, settings: RunSettings) -> RunFolder:
        return cls(Folder.open(settings.storage) / settings.name)

    def round(self, number: int) -> Folder:
        return self.root / f"rounds/{number:02d}"

    def training_rows(self, settings: RunSettings) -> Folder:
        """The merged rounds that models are trained on: the run's training set. Under ``auto``, where that holds the rounds up
        to the best alone, a set of all rounds.
        """
        return self.evol_stop / "dataset" if settings.evolve.rounds == AUTO else self.dataset

    def train(self, variant: int | str) -> Folder:
        """Of ``Variant.folder``."""
        return self.root / f"train/{variant}"

    def evaluation(self, model: str, benchmark: str) -> Folder:
        return self.root / f"evaluate/{model}/{benchmark}"

    def write_settings(self, settings: RunSettings) -> None:
        import yaml

        self.root.write_text("run.yaml", yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))

    @contextmanager
    def lock(self, stage: str) -> Iterator[None]:
        """Hold the run for one stage; the lock ends with the process, however it ends.

        Stages of one run may overlap, two of the same stage may not. Only local storage can be locked: elsewhere the
        journal's epoch keeps a second evolve from sending, and atomic manifests keep the files whole.

        Raises:
            RunBusyError: another process holds it.
        """
        if not self.root.is_local:
            yield
            return
        self.root.make()
        path = self.root.local_path / f".{stage}.lock"
        with explain_write_errors(self.root):
            file = path.open("a+", encoding="ascii")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise RunBusyError(
                    f"Process {holder} is already running {stage} on {self.root}; wait for it or stop it, then try again."
                ) from None
            with explain_write_errors(self.root):
                file.truncate(0)
                file.write(str(os.getpid()))
                file.flush()
            yield
