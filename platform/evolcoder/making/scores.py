"""Scoring models: those of a run, or one that is of no run, each served for as long as it is asked.

Several are scored side by side where the cluster has room for their engines. How answers are asked for and judged is the
matter of ``evaluate/``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from evolcoder.console import Reporter
from evolcoder.errors import EvolcoderError
from evolcoder.models import Model, find_model
from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import all_benchmarks
from evolcoder.settings.run import RunSettings
from evolcoder.side_by_side import work_on_models
from evolcoder.stages.listing import RunStage
from evolcoder.storage.stage import Stage

if TYPE_CHECKING:
    from evolcoder.endpoint.requests import Endpoint
    from evolcoder.serve.launch import ServeInstance
    from evolcoder.serve.room import Room


def score_model(settings: RunSettings, run: RunFolder, scores: Sequence[RunStage], reporter: Reporter) -> None:
    """Make the scores of one model of a run."""
    with run.lock("evaluate"):
        _score_model(settings, scores, lambda model: served(model, settings, reporter), reporter)


def score_side_by_side(
    settings: RunSettings, run: RunFolder, models: Sequence[Sequence[RunStage]], room: Room, reporter: Reporter
) -> dict[str, EvolcoderError]:
    """Make the scores of several models; returns what failed of single ones, by name. Call it inside ``ray_session()``."""
    from evolcoder.serve.launch import serve_instance

    at_once = min(room.models, len(models))
    workers = settings.evaluate.workers or room.callers_cpus
    shared = settings.model_copy(update={"evaluate": settings.evaluate.model_copy(update={"workers": workers})})
    with run.lock("evaluate"), serve_instance(settings.serve) as instance:
        reporter.stage(f"Evaluate {len(models)} models of {settings.name}, {at_once} side by side")

        def score_one(scores: Sequence[RunStage], to: Reporter) -> None:
            _score_model(shared, scores, lambda model: _beside_others(instance, scores[0].model, model, room, to), to)

        return work_on_models({scores[0].model: partial(score_one, scores) for scores in models}, at_once, reporter)


def _score_model(
    settings: RunSettings,
    scores: Sequence[RunStage],
    answering: Callable[[Model], AbstractContextManager[Endpoint]],
    reporter: Reporter,
) -> None:
    which = scores[0].model
    model = find_model(which, settings)
    reporter.stage(f"Evaluate {which}: {model.name}")
    score(settings, {entry.benchmark: entry.stage for entry in scores}, answering(model), reporter)


def score(
    settings: RunSettings, stages: Mapping[str, Stage], answering: AbstractContextManager[Endpoint], reporter: Reporter
) -> None:
    """Score one model by benchmark; ``answering`` is entered only when some score is not there yet."""
    from evolcoder.evaluate.pipeline import evaluate as evaluate_benchmark
    from evolcoder.evaluate.result import show

    check_left_out(settings)
    to_do = []
    for benchmark, stage in stages.items():
        _ = stage.resolved_identity  # a style that the benchmark has not is said before anything is served
        if stage.state().done:
            reporter.say(f"{benchmark} is done: no question is asked again")
            show(reporter, stage.folder)
        else:
            to_do.append(stage)
    if to_do:
        with answering as endpoint:
            for stage in to_do:
                evaluate_benchmark(stage, settings.evaluate, endpoint, endpoint.model, reporter)


def take_over_scores(run: RunFolder, scores: Sequence[RunStage], reporter: Reporter) -> None:
    """Copy the scores of models that were scored under another name, as that of the last round was while it was the run's own.
    Those that are not there come first: what lies in the place of another one may be theirs.
    """
    made = {name.removesuffix("/manifest.json") for name in (run.root / "evaluate").names("*/manifest.json", recursive=True)}
    places = {entry.stage.folder.path: entry for entry in scores}
    for entry in sorted(scores, key=lambda entry: entry.stage.manifest() is not None):
        trained = [source.manifest() for source in entry.stage.inputs.values() if isinstance(source, Stage)]
        if not trained or None in trained:
            continue
        manifest = entry.stage.manifest()
        if manifest is not None and manifest.inputs == entry.stage.input_hashes():
            continue
        for name in sorted(made):
            place = run.root / "evaluate" / name
            if name.endswith(f"/{entry.benchmark}") and place.path != entry.stage.folder.path and entry.stage.take_over(place):
                reporter.say(f"{entry.label}: taken from {places[place.path].label if place.path in places else name}")
                break


def check_left_out(settings: RunSettings) -> None:
    from evolcoder.evaluate.benchmarks import benchmark_named
    from evolcoder.evaluate.questions import check_left_out

    check_left_out([benchmark_named(name) for name in all_benchmarks(settings)], settings.evaluate)


@contextmanager
def reached(endpoint: Endpoint) -> Iterator[Endpoint]:
    """An endpoint of others, once it has answered to its key and knows the model."""
    from evolcoder.endpoint.checking import check_endpoint

    check_endpoint(endpoint)
    yield endpoint


@contextmanager
def served(model: Model, settings: RunSettings, reporter: Reporter) -> Iterator[Endpoint]:
    """A model of this machine, served while the block lasts."""
    from evolcoder.cluster import ray_session
    from evolcoder.serve.launch import serving

    with ray_session(), serving(model.folder, model.name, settings.serve, port=None, reporter=reporter) as endpoint:
        yield replace(endpoint, settings_section="evaluate")


@contextmanager
def _beside_others(instance: ServeInstance, prefix: str, model: Model, room: Room, reporter: Reporter) -> Iterator[Endpoint]:
    with instance.model(model.folder, model.name, reporter, prefix=prefix, engine_cpus=room.engine_cpus) as endpoint:
        yield replace(endpoint, settings_section="evaluate")
