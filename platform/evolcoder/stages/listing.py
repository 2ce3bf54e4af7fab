"""The ordered list of a run's stages, made from its settings alone: what ``study`` makes, ``status`` shows and a report reads.

A stage comes after all that it is made from. The list is a graph laid flat: each stage holds those that are its inputs, so
that two models of one run, trained on other rounds or from other seeds, share what they have in common. Nothing but
manifests is read here; how a stage is made is the matter of its room, and which verb makes it that of ``making/``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from evolcoder.evaluate.measurement import model_stage
from evolcoder.evolve.dataset.build import dataset_stage
from evolcoder.evolve.rounds.identity import round_stages
from evolcoder.models import Model, find_model
from evolcoder.run.evol_stop import as_decided, models_of, of_training_set, stopping_stage, stopping_variant
from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import BASE, TUNED, Variant, benchmarks_of, run_variants
from evolcoder.settings.run import RunSettings
from evolcoder.settings.section import AUTO
from evolcoder.storage.stage import Stage
from evolcoder.train.identity import train_stage

Kind = Literal["round", "dataset", "train", "evaluate", "evol_stop", "report"]


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
    """Every stage that the settings ask for, in an order in which they can be made.

    Where Evol Stop decides how many rounds there are, those that depend on it are there once it has ended.
    """
    whole = as_decided(settings, run)
    rounds = round_stages(whole, run)
    merged = of_training_set(settings, run)
    dataset = dataset_stage(merged, run.dataset, rounds[: merged.evolve.last_round + 1])
    base_fingerprint = cache(lambda: find_model(BASE, settings).fingerprint)
    auto = settings.evolve.rounds == AUTO
    trainings = {}
    for variant in models_of(settings, run):
        chosen = "tuned: " if auto and variant.name == TUNED else ""
        seed = f", seed {variant.seed}" if variant.folder.endswith(f"-seed-{variant.seed}") else ""
        stage = train_stage(settings, run, rounds, dataset, base_fingerprint, variant)
        label = f"{chosen}train on {variant.label}{seed}"
        trainings[variant.name] = RunStage("train", label, stage, variant.name, variant=variant)
    stopping = _stopping_stages(settings, run, trainings) if auto else []
    ended = TUNED in trainings
    stages = [
        *(RunStage("round", f"round {number}", stage) for number, stage in enumerate(rounds)),
        *stopping,
        *([RunStage("dataset", "data set", dataset)] if ended else []),
        *trainings.values(),
        *_scores(settings, run, {name: entry.stage for name, entry in trainings.items()} if ended else {}),
        # What decides a report is all that it shows: study/report.py says so when it draws one.
        RunStage("report", "report", Stage("report", run.report, {}, packages=("altair", "vl-convert-python"))),
    ]
    return list({id(entry): entry for entry in stages}.values())


def _stopping_stages(settings: RunSettings, run: RunFolder, trainings: Mapping[str, RunStage]) -> list[RunStage]:
    """For each round the model that is trained on it and those before and its score on the development set; then the decisions
    that follow from these.
    """
    stages: list[RunStage] = []
    for number in range(as_decided(settings, run).evolve.last_round + 1):
        training = trainings[stopping_variant(settings, number).name]
        stages.append(training)
        stages += _evaluations(settings, run, training.model, training.stage, [settings.study.development])
    scores = [entry.stage for entry in stages if entry.kind == "evaluate"]
    return [*stages, RunStage("evol_stop", "Evol Stop", stopping_stage(settings, run, scores))]


def _scores(settings: RunSettings, run: RunFolder, trained: Mapping[str, Stage]) -> list[RunStage]:
    """The scores of the base model, and of those models that are to be trained for more than Evol Stop."""
    wanted = {variant.name for variant in run_variants(as_decided(settings, run))}
    models = [name for name in trained if name in wanted]
    scored = [name for which in settings.evaluate.models for name in (models if which == TUNED else (which,))]
    return [
        entry
        for which in scored
        for entry in _evaluations(settings, run, which, trained.get(which), benchmarks_of(settings, which))
    ]


def _evaluations(
    settings: RunSettings, run: RunFolder, which: str, trained: Stage | None, benchmarks: Sequence[str]
) -> list[RunStage]:
    """The scores of one model. What is found out of the model is found out once, when it is needed."""
    found: Callable[[], Model] = cache(lambda: find_model(which, settings))
    wanted = settings.evaluate
    style = (lambda: found().style) if wanted.style == "auto" else wanted.style
    model = trained or (lambda: found().fingerprint)
    stages = {name: model_stage(wanted, name, run.evaluation(which, name), model, style) for name in benchmarks}
    return [RunStage("evaluate", f"evaluate {which} on {name}", stage, which, name) for name, stage in stages.items()]
