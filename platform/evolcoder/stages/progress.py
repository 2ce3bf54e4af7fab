"""How far each stage of a run is, as the run folder says: for those who look and make nothing. Talks to no process.

Of a stage that is there the manifest tells; its files are not verified. Of one that is being made the files tell that it has
written so far. A file that grew a moment ago is the sign of life: a stage that was begun and broken off leaves the same files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from evolcoder.errors import EvolcoderError
from evolcoder.plan import TrainingPace
from evolcoder.run.folder import RunFolder
from evolcoder.settings.run import RunSettings
from evolcoder.stages.listing import RunStage
from evolcoder.storage.arrow_files import read_table
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Manifest, read_manifest
from evolcoder.train.job import ENCODED_FILE, METRICS_FILE
from evolcoder.train.schedule import total_steps

AT_WORK_SECONDS = 120.0
"""A stage that has written nothing for longer is not said to be at work: a step of a large model takes less."""


@dataclass(frozen=True, slots=True)
class StageStatus:
    """Whether a stage is there. ``changed`` names the settings, or what it was made from, that are others now."""

    manifest: Manifest | None
    changed: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    """Of the decisions of Evol Stop, which grow: the models whose scores the next one needs."""

    @property
    def done(self) -> bool:
        return self.manifest is not None and not self.changed and not self.waits_for

    @property
    def text(self) -> str:
        if self.changed:
            return f"to do again: {', '.join(self.changed)} changed since"
        if self.waits_for:
            return f"goes on after {', '.join(self.waits_for)}"
        return "to do" if self.manifest is None else "done"

    @property
    def count(self) -> int | None:
        """Of its rows or tasks."""
        if self.manifest is None:
            return None
        return self.manifest.summary.get("tasks") or self.manifest.summary.get("rows") or self.manifest.rows or None


def stage_status(entry: RunStage) -> StageStatus:
    manifest = entry.stage.manifest()
    if manifest is None:
        return StageStatus(None)
    changed = entry.stage.changed_settings(manifest) or entry.stage.changed_inputs(manifest)
    new = [name for name in entry.stage.inputs if name not in manifest.inputs] if entry.kind == "evol_stop" else []
    return StageStatus(manifest, tuple(name for name in changed if name not in new), tuple(new))


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` (None where that is not known) ``things``; ``changed_at`` in seconds since 1970."""

    done: int
    total: int | None
    things: str
    changed_at: float
    more: str = ""

    def text(self, now: float) -> str:
        of = "" if self.total is None else f" of {self.total:,}"
        state = "at work" if now - self.changed_at <= AT_WORK_SECONDS else "begun"
        return f"{state}: {self.done:,}{of} {self.things}{self.more and f', {self.more}'}"


def progress_of(entry: RunStage, settings: RunSettings, run: RunFolder) -> Progress | None:
    """How far a stage is that is not done; None while it has not begun, or tells nothing."""
    if entry.kind == "round":
        return _of_round(entry, settings, run)
    if entry.kind == "train":
        return _of_training(entry.stage.folder, settings)
    return _of_evaluation(entry, settings) if entry.kind == "evaluate" else None


def _of_round(entry: RunStage, settings: RunSettings, run: RunFolder) -> Progress | None:
    """The replies of the teacher that the journal holds for the round: two a row, and one more with a judge."""
    journal = run.journal / entry.stage.kind.removeprefix("round ")
    replies, changed_at = _lines(journal, journal.names("*.jsonl"))
    seeds = read_manifest(run.round(0))
    total = None if seeds is None else int(seeds.summary.get("kept", seeds.rows)) * (2 + settings.evolve.judge)
    return None if changed_at is None else Progress(replies, total, "replies", changed_at)


def _of_training(folder: Folder, settings: RunSettings) -> Progress | None:
    """The steps that rank 0 has written down since the rows were encoded for this training."""
    encoded = folder.names(f"checkpoints/*/{ENCODED_FILE}", recursive=True)
    begun_at = max((changed for name in encoded if (changed := folder.changed_at(name))), default=None)
    if begun_at is None:
        return None
    total = settings.train.max_steps
    if total is None and folder.is_local:  # where the file is mapped, counting its rows reads none of them
        newest = max(encoded, key=lambda name: folder.changed_at(name) or 0.0)
        total = total_steps(settings.train, read_table(folder, newest).num_rows)
    changed_at = folder.changed_at(METRICS_FILE)
    if changed_at is None or changed_at < begun_at:
        return Progress(0, total, "steps", begun_at)
    lines = folder.read_text(METRICS_FILE).splitlines()
    loss = f"loss {json.loads(lines[-1])['loss']:.4g}" if lines else ""
    return Progress(len(lines), total, "steps", changed_at, loss)


def training_pace(entries: Sequence[RunStage], settings: RunSettings) -> TrainingPace | None:
    """Of the first training of the run that has taken two steps: the first one is slower than all others."""
    for entry in entries:
        if entry.kind == "train" and entry.stage.folder.exists(METRICS_FILE):
            steps = [json.loads(line) for line in entry.stage.folder.read_text(METRICS_FILE).splitlines()]
            tokens, seconds = sum(step["tokens"] for step in steps), sum(step["seconds"] for step in steps[1:])
            if seconds > 0:
                rows = len(steps) * settings.train.global_batch_size
                return TrainingPace(tokens / rows, (tokens - steps[0]["tokens"]) / seconds)
    return None


def _of_evaluation(entry: RunStage, settings: RunSettings) -> Progress | None:
    folder = entry.stage.folder
    answers, answered_at = _lines(folder, folder.names("answers*.jsonl"))
    judged, judged_at = _lines(folder, folder.names("judged*.jsonl"))
    changed_at = max((at for at in (answered_at, judged_at) if at is not None), default=None)
    if changed_at is None:
        return None
    return Progress(answers, questions_of(entry.benchmark, settings), "answers", changed_at, f"{judged:,} judged")


def questions_of(benchmark: str, settings: RunSettings) -> int | None:
    """How many questions a score asks; None where the benchmark's data is not on this machine."""
    from evolcoder.evaluate.benchmarks import benchmark_named
    from evolcoder.evaluate.questions import chosen_problems

    try:
        return len(chosen_problems(benchmark_named(benchmark), settings.evaluate)) * settings.evaluate.samples
    except EvolcoderError:
        return None


def _lines(folder: Folder, names: Sequence[str]) -> tuple[int, float | None]:
    """How many whole lines these files have together, and when the last of them was written."""
    count = sum(folder.read_bytes(name).count(b"\n") for name in names)
    return count, max((at for name in names if (at := folder.changed_at(name)) is not None), default=None)
