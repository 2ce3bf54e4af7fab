"""The ordered list of a run's stages, made from its settings alone: what ``study`` makes, ``status`` shows and a report reads.

A stage comes after all that it is made from. The list is a graph laid flat: each stage holds those that are its inputs, so
that two models of one run, trained on other rounds or from other seeds, share what they have in common. Nothing but
manifests is read here; how a stage is made is the matter of its room, and which verb makes it that of ``verbs.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from evolcoder.evaluate.measurement import model_stage
from evolcoder.evolve.dataset.build import dataset_stage
from evolcoder.evolve.rounds.identity import round_stages
from evolcoder.models import Model, find_model
from evolcoder.runs import RunFolder
from evolcoder.settings.run import RunSettings
from evolcoder.storage.stage import Stage
from evolcoder.train.identity import train_stage
from evolcoder.variants import BASE, TUNED, Variant, benchmarks_of, run_variants

Kind = Literal["round", "dataset", "train", "evaluate", "report"]


@dataclass(frozen=True)
class RunStage:
    """One stage of a run: what it is to the run, and what it is to the storage."""

    kind: Kind
    label: str
    stage: Stage
    model: str = ""
    """Which model a training makes or an evaluation scores: ``base``, or the name of a variant."""
    benchmark: str = ""
    variant: Variant | None = None
    """Of a training."""


def run_stages(settings: RunSettings, run: RunFolder) -> list[RunStage]:
    """Every stage that the settings ask for, in an order in which they can be made."""
    rounds = round_stages(settings, run)
    dataset = dataset_stage(settings, run, rounds)
    base_fingerprint = cache(lambda: find_model(BASE, settings).fingerprint)
    trainings = [
        RunStage(
            "train",
            _training_label(variant),
            train_stage(settings, run, rounds, dataset, base_fingerprint, variant),
            variant.name,
            "",
            variant,
        )
        for variant in run_variants(settings)
    ]
    trained = {entry.model: entry.stage for entry in trainings}
    scored = [name for which in settings.evaluate.models for name in (trained if which == TUNED else (which,))]
    scores = [
        RunStage("evaluate", f"evaluate {which} on {benchmark}", stage, which, benchmark)
        for which in scored
        for benchmark, stage in _evaluations(settings, run, which, trained.get(which)).items()
    ]
    return [
        *(RunStage("round", f"round {number}", stage) for number, stage in enumerate(rounds)),
        RunStage("dataset", "data set", dataset),
        *trainings,
        *scores,
        # What decides a report is all that it shows: study/report.py says so when it draws one.
        RunStage("report", "report", Stage("report", run.report, {}, packages=("altair", "vl-convert-python"))),
    ]


def _training_label(variant: Variant) -> str:
    seed = f", seed {variant.seed}" if variant.folder.endswith(f"-seed-{variant.seed}") else ""
    return f"train on {variant.label}{seed}"


def _evaluations(settings: RunSettings, run: RunFolder, which: str, trained: Stage | None) -> dict[str, Stage]:
    """The scores of one model, by benchmark. What is found out of the model is found out once, when it is needed."""
    found: Callable[[], Model] = cache(lambda: find_model(which, settings))
    wanted = settings.evaluate
    style = (lambda: found().style) if wanted.style == "auto" else wanted.style
    model = trained or (lambda: found().fingerprint)
    return {
        benchmark: model_stage(wanted, benchmark, run.evaluation(which, benchmark), model, style)
        for benchmark in benchmarks_of(settings, which)
    }
