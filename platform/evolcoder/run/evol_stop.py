"""What Evol Stop has decided in a run whose ``evolve.rounds`` is ``auto``, as the run folder says it. Decides nothing.

``evol_stop/decisions.json`` holds a decision for each round, and the manifest beside it the rule, the development set and the
scores they were made by. A decision counts while all of these are the same. From it follow the settings with a number in the
place of ``auto``, of which the stages of the run are made. ``study.stopping`` has the rule, ``making/evol_stop.py`` applies it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from evolcoder.errors import SettingsError
from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import TUNED, Variant, benchmarks_of, run_variants, up_to
from evolcoder.settings.run import RunSettings
from evolcoder.settings.section import AUTO
from evolcoder.storage.stage import Source, Stage, read_manifest

STAGE = "evol_stop"
DECISIONS_FILE = "decisions.json"

RecordedDecision = dict[str, Any]
"""after_round, go_on, best_round, reason, and tests: a list with round, against, difference, p_value, level and gain."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What is decided so far: how many rounds there are to be, and up to which one the run's own model learns.

    While it has not ``ended``, ``rounds`` is the round to be evolved next, and ``best_round`` the best one so far.
    """

    rounds: int
    best_round: int
    ended: bool
    decisions: Sequence[RecordedDecision] = ()


def stopping_variant(settings: RunSettings, last: int) -> Variant:
    """The model that is trained on rounds 0 to ``last``, to see whether there shall be a further one."""
    return replace(up_to(last), seed=settings.train.seed)


def stopping_stage(settings: RunSettings, run: RunFolder, scores: Sequence[Source]) -> Stage:
    """The decisions after each of these scores on the development set, round 0 first."""
    study = settings.study
    rule = {"error_rate": study.error_rate, "patience": study.patience, "max_rounds": settings.evolve.max_rounds}
    inputs = {stopping_variant(settings, number).name: score for number, score in enumerate(scores)}
    return Stage(STAGE, run.evol_stop, {"rule": rule, "development": study.development}, inputs)


def decided(settings: RunSettings, run: RunFolder) -> Decided:
    """What counts of the decisions that are there. Where there is none, round 1 is to be evolved: the seeds decide nothing."""
    stage = stopping_stage(settings, run, ())
    manifest = stage.manifest()
    if manifest is None or manifest.identity != stage.resolved_identity or manifest.damage(run.evol_stop):
        return Decided(1, 0, False)

    def counts(decision: Mapping[str, Any]) -> bool:
        name = stopping_variant(settings, decision["after_round"]).name
        score = read_manifest(run.evaluation(name, settings.study.development))
        return score is not None and manifest.inputs.get(name) == score.content_hash

    recorded = json.loads(run.evol_stop.read_text(DECISIONS_FILE))["decisions"]
    decisions = list(takewhile(counts, recorded))
    if not decisions:
        return Decided(1, 0, False)
    last = decisions[-1]
    rounds = last["after_round"] + 1 if last["go_on"] else last["after_round"]
    return Decided(max(1, rounds), last["best_round"], not last["go_on"], decisions)


def with_rounds(settings: RunSettings, rounds: int, best_round: int) -> RunSettings:
    """The settings with these numbers in the place of ``auto``."""
    evolve = settings.evolve.model_copy(update={"rounds": rounds})
    train = settings.train.model_copy(update={"data_rounds": best_round})
    base_rounds = tuple(last for last in settings.study.base_rounds if last <= rounds)
    study = settings.study.model_copy(update={"base_rounds": base_rounds})
    return settings.model_copy(update={"evolve": evolve, "train": train, "study": study})


def as_decided(settings: RunSettings, run: RunFolder) -> RunSettings:
    """The settings with the number of rounds that is decided on so far in the place of ``auto``."""
    if settings.evolve.rounds != AUTO:
        return settings
    so_far = decided(settings, run)
    return with_rounds(settings, so_far.rounds, so_far.best_round)


def of_training_set(settings: RunSettings, run: RunFolder) -> RunSettings:
    """The settings with the number of rounds that the run's training set holds: under ``auto`` those up to the best."""
    if settings.evolve.rounds != AUTO:
        return settings
    best = decided(settings, run).best_round
    return with_rounds(settings, best, best)


def models_of(settings: RunSettings, run: RunFolder) -> list[Variant]:
    """Every model that the run trains as far as that is decided, each name once; the run's own among them once it is known."""
    if settings.evolve.rounds != AUTO:
        return run_variants(settings)
    so_far = decided(settings, run)
    stopping = [stopping_variant(settings, number) for number in range(so_far.rounds + 1)]
    wanted = run_variants(with_rounds(settings, so_far.rounds, so_far.best_round)) if so_far.ended else []
    return list({variant.name: variant for variant in (*stopping, *wanted)}.values())


def at_most(settings: RunSettings, run: RunFolder) -> tuple[RunSettings, list[Variant], list[tuple[str, str]]]:
    """The most that the run may come to: the settings with the largest number of rounds in the place of ``auto``; the trainings
    (each once: the run's own model is one that Evol Stop has trained); model and benchmark of each score.
    """
    auto, most_rounds = settings.evolve.rounds == AUTO, settings.evolve.max_rounds
    ended = not auto or decided(settings, run).ended
    most = as_decided(settings, run) if ended else with_rounds(settings, most_rounds, most_rounds)
    wanted = run_variants(most)
    stopping = [stopping_variant(settings, number) for number in range(most.evolve.last_round + 1)] if auto else []
    trained = [variant.name for variant in wanted]
    models = [name for which in settings.evaluate.models for name in (trained if which == TUNED else (which,))]
    scores = [
        *((variant.name, settings.study.development) for variant in stopping),
        *((model, benchmark) for model in models for benchmark in benchmarks_of(settings, model)),
    ]
    return most, list({variant.folder: variant for variant in (*wanted, *stopping)}.values()), scores


def check_decided(settings: RunSettings, run: RunFolder) -> None:
    """
    Raises:
        SettingsError: it is not decided yet how many rounds there are, so that there is no model of the run's own.
    """
    if settings.evolve.rounds == AUTO and not decided(settings, run).ended:
        raise SettingsError(
            "evolve.rounds is auto, and it is not decided yet how many rounds there are: `evolcoder study` evolves, trains and "
            "scores round by round until it is; or set evolve.rounds to a number."
        )
