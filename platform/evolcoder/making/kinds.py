"""How the stages of a run are made, kind by kind: the one place where the rooms of the stages are put together.

What needs the embedded teacher or a local model served starts it and passes its address on. Heavy packages are imported by
the maker that uses them. What a verb says before and after is the matter of ``verbs.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from evolcoder.console import Reporter
from evolcoder.errors import ClusterError, DataError, EvolcoderError, IncompleteError, ModelError, RunFolderError, TrainingError
from evolcoder.making.scores import score_model, score_side_by_side, served, take_over_scores
from evolcoder.models import find_model
from evolcoder.run.evol_stop import as_decided, check_decided, of_training_set, with_rounds
from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import BASE, TUNED
from evolcoder.settings.evolve import EndpointSettings, TeacherSettings
from evolcoder.settings.run import RunSettings
from evolcoder.settings.section import AUTO, EMBEDDED
from evolcoder.stages.listing import Kind, RunStage, run_stages

if TYPE_CHECKING:
    from evolcoder.endpoint.requests import Endpoint


def open_run(settings: RunSettings) -> RunFolder:
    run = RunFolder.open(settings)
    run.write_settings(settings)
    return run


def of_kinds(settings: RunSettings, run: RunFolder, *kinds: Kind) -> list[RunStage]:
    return [entry for entry in run_stages(settings, run) if entry.kind in kinds]


def make(settings: RunSettings, reporter: Reporter, *kinds: Kind) -> RunFolder:
    """Make the run's stages of these kinds, all of a kind and a model at once.

    Raises:
        IncompleteError: of a study's models, some could not be trained or scored; all else is made.
        SettingsError: they depend on a number of rounds that is not decided yet.
    """
    run = open_run(settings)
    if "train" in kinds or "evaluate" in kinds:
        check_decided(settings, run)
    make_stages(settings, run, of_kinds(settings, run, *kinds), reporter)
    return run


def make_stages(settings: RunSettings, run: RunFolder, entries: Sequence[RunStage], reporter: Reporter) -> None:
    """Make these, as ``make`` does."""
    failed: dict[str, EvolcoderError] = {}
    for kind, of_kind in groupby(entries, key=lambda entry: entry.kind):
        models = [list(group) for _, group in groupby(of_kind, key=lambda entry: entry.model)]
        left = [group for group in models if group[0].model not in failed]
        if kind == "evaluate":
            take_over_scores(run, [entry for group in left for entry in group], reporter)
        if kind == "train" and len(left) > 1:
            failed |= _train_together(settings, run, left, reporter)
        elif kind == "evaluate":
            failed |= _score_together(settings, run, left, reporter)
        else:
            failed |= _each_model(settings, run, kind, left, reporter)
    if failed:
        first = next(iter(failed.values()))
        raise IncompleteError(f"The same command tries {', '.join(failed)} again; all else is made. {first.message}")


def _each_model(
    settings: RunSettings, run: RunFolder, kind: Kind, models: Sequence[Sequence[RunStage]], reporter: Reporter
) -> dict[str, EvolcoderError]:
    """Make the stages of a kind, model by model; returns what failed of a study's models, by name."""
    failed: dict[str, EvolcoderError] = {}
    for group in models:
        model = group[0].model
        try:
            MAKERS[kind](settings, run, group, reporter)
        except (TrainingError, ModelError, DataError, IncompleteError) as error:
            if not model or not settings.study.several_models:
                raise
            reporter.warn(f"{model} is left out: {error.message}")
            failed[model] = error
    return failed


def _train_together(
    settings: RunSettings, run: RunFolder, models: Sequence[Sequence[RunStage]], reporter: Reporter
) -> dict[str, EvolcoderError]:
    """Train several models, side by side where there is room; returns what failed, by name."""
    from evolcoder.train.several import train_several

    _merge_for(settings, run, [entry for group in models for entry in group], reporter)
    trainings = [(entry.stage, entry.variant) for group in models for entry in group if entry.variant]
    return train_several(settings, run, trainings, find_model(BASE, settings).folder, reporter)


def _score_together(
    settings: RunSettings, run: RunFolder, models: Sequence[Sequence[RunStage]], reporter: Reporter
) -> dict[str, EvolcoderError]:
    """Score several models, side by side where there is room; returns what failed, by name."""
    from evolcoder.cluster import machines, ray_session
    from evolcoder.serve.room import room_for_models

    if sum(any(entry.stage.manifest() is None for entry in group) for group in models) > 1:
        with ray_session():
            if room := room_for_models(machines(), settings.serve.replicas):
                return score_side_by_side(settings, run, models, room, reporter)
            return _each_model(settings, run, "evaluate", models, reporter)
    return _each_model(settings, run, "evaluate", models, reporter)


def _evolve(settings: RunSettings, run: RunFolder, rounds: Sequence[RunStage], reporter: Reporter) -> None:
    from evolcoder.evolve.rounds.identity import check_benchmarks

    settings = as_decided(settings, run)
    last = settings.evolve.last_round
    reporter.stage(f"Evolve {settings.name}: {last} round{'s' if last != 1 else ''}")
    _ = rounds[0].stage.resolved_identity  # reads the seeds: what is wrong with them is said before anything starts
    if all(entry.stage.state().done for entry in rounds):
        reporter.say(f"rounds 0 to {last} are done: no request is sent")
        return
    check_benchmarks(settings.evolve)
    from evolcoder.evolve.rounds.pipeline import evolve as evolve_rounds

    with _teacher(settings, reporter) as endpoints:
        evolve_rounds(settings, run, endpoints, reporter)


def _merge_rounds(settings: RunSettings, run: RunFolder, _: Sequence[RunStage], reporter: Reporter) -> None:
    from evolcoder.evolve.dataset.build import build_dataset

    build_dataset(of_training_set(settings, run), run, reporter)


def _merge_for(settings: RunSettings, run: RunFolder, trainings: Sequence[RunStage], reporter: Reporter) -> None:
    """Where Evol Stop decides how many rounds there are: merge all that these trainings learn from, for the run's training set
    will hold those up to the best alone.
    """
    from evolcoder.evolve.dataset.build import build_dataset
    from evolcoder.train.prepare import check_rounds, dataset_manifest

    if settings.evolve.rounds != AUTO:
        return
    folder = run.training_rows(settings)
    try:
        merged = dataset_manifest(folder)
        for entry in trainings:
            check_rounds(merged, folder, entry.stage.input_hashes())
    except RunFolderError:
        last = max(entry.variant.last_round for entry in trainings if entry.variant)
        build_dataset(with_rounds(settings, last, last), run, reporter, folder)


def _train(settings: RunSettings, run: RunFolder, trainings: Sequence[RunStage], reporter: Reporter) -> None:
    from evolcoder.train.launch import train as train_model

    _merge_for(settings, run, trainings, reporter)
    for entry in trainings:
        reporter.stage(f"Train {settings.name}" if entry.model == TUNED else f"Train {entry.model}: {entry.label}")
        train_model(settings, run, entry.stage, find_model(BASE, settings).folder, reporter, entry.variant)


def _report(settings: RunSettings, run: RunFolder, reports: Sequence[RunStage], reporter: Reporter) -> None:
    from evolcoder.study.report import write_report

    reporter.stage(f"Report {settings.name}")
    for entry in reports:
        write_report(settings, run, entry.stage, reporter)


MAKERS: dict[Kind, Callable[[RunSettings, RunFolder, Sequence[RunStage], Reporter], None]] = {
    "round": _evolve,
    "dataset": _merge_rounds,
    "train": _train,
    "evaluate": score_model,
    "report": _report,
}
"""How the stages of each kind, and of one model, are made."""


@contextmanager
def _teacher(settings: RunSettings, reporter: Reporter) -> Iterator[list[Endpoint]]:
    """The teacher's endpoints; the embedded one is served for as long as it is needed."""
    from evolcoder.cluster import machine_count, ray_session
    from evolcoder.endpoint.checking import api_key_from_environment, check_endpoint
    from evolcoder.endpoint.requests import Endpoint

    teacher = settings.teacher
    if teacher.base_url != EMBEDDED or teacher.endpoints:
        endpoints = []
        for one in teacher.endpoints or (EndpointSettings(),):
            key = api_key_from_environment(one.api_key_env or teacher.api_key_env)
            endpoint = Endpoint(one.base_url or teacher.base_url, teacher.model, key, **_manner(teacher, one))
            check_endpoint(endpoint)  # before Ray starts, so that a wrong key is said at once
            endpoints.append(endpoint)
        yield endpoints
        return
    with ray_session():
        if machine_count() > 1:
            raise ClusterError("The embedded teacher answers on one machine alone: set teacher.base_url to an endpoint.")
        with served(find_model(EMBEDDED, settings), settings, reporter) as endpoint:
            yield [replace(endpoint, **_manner(teacher))]


def _manner(teacher: TeacherSettings, one: EndpointSettings | None = None) -> dict[str, Any]:
    """How the teacher is asked, as the fields of an ``Endpoint``."""
    own = EndpointSettings() if one is None else one
    return {
        "settings_section": "teacher",
        "timeout_seconds": teacher.timeout_seconds,
        "max_attempts": teacher.max_attempts,
        "transport": teacher.transport,
        "max_tokens_field": own.max_tokens_field or teacher.max_tokens_field,
        "stream": teacher.stream if own.stream is None else own.stream,
    }
