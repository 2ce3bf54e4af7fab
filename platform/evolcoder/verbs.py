"""What each verb does, from settings to the last line it shows.

The command line and submitted jobs both call these functions, with the settings, the reporter, and the arguments as typed,
for the commands that the verb suggests next. Here, and only here, stages are put together: a verb that
needs the embedded teacher or a local model served starts it and passes its address on. Heavy packages are imported by
the verb that uses them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import groupby, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evolcoder.console import Reporter
from evolcoder.errors import ClusterError, DataError, EvolcoderError, IncompleteError, ModelError, TrainingError
from evolcoder.models import BASE, Model, find_model
from evolcoder.runs import RunFolder
from evolcoder.settings.evolve import EndpointSettings, TeacherSettings
from evolcoder.settings.run import RunSettings
from evolcoder.settings.section import EMBEDDED
from evolcoder.stages import Kind, RunStage, run_stages
from evolcoder.storage.folders import Folder, shown_path
from evolcoder.storage.stage import Stage
from evolcoder.variants import TUNED

if TYPE_CHECKING:
    from evolcoder.endpoint.requests import Endpoint


def evolve(settings: RunSettings, reporter: Reporter, arguments: str) -> None:
    """Evolve the seeds for the rounds that are not there yet, and merge them into the training set."""
    run = _make(settings, reporter, "round", "dataset")
    reporter.finish([str(run.dataset)], [f"evolcoder train {arguments}"])


def train(settings: RunSettings, reporter: Reporter, arguments: str) -> None:
    """Fine-tune the base model on the training set and export it."""
    _make(settings, reporter, "train")
    next_commands = [f"evolcoder evaluate {arguments}", f"evolcoder serve {arguments}"]
    reporter.finish([shown_path(find_model(TUNED, settings).folder)], next_commands)


def serve(settings: RunSettings, reporter: Reporter, arguments: str) -> None:
    """Serve ``serve.model`` until interrupted."""
    from evolcoder.cluster import ray_session
    from evolcoder.serve.launch import serving, wait_while_serving

    model = find_model(settings.serve.model, settings)
    reporter.stage(f"Serve {model.name}")
    with (
        ray_session(),
        serving(model.folder, model.name, settings.serve, port=settings.serve.port, reporter=reporter) as served,
    ):
        reporter.say(f"listening on {served.base_url} as {served.name}; Ctrl-C stops it")
        reporter.finish(
            (), [f"curl {served.base_url}/models", f"evolcoder evaluate --endpoint {served.base_url} --model {served.name}"]
        )
        wait_while_serving()


def evaluate(settings: RunSettings, reporter: Reporter, arguments: str, rescore: bool = False, failures: int = 0) -> None:
    """Score the run's models on the run's benchmarks; or judge the answers that they gave again."""
    from evolcoder.evaluate.pipeline import rescore as judge_again

    if rescore:
        run = _open(settings)
        for which, entries in groupby(_of_kinds(settings, run, "evaluate"), key=lambda entry: entry.model):
            reporter.stage(f"Rescore {which}")
            with run.lock("evaluate"):
                for entry in entries:
                    judge_again(settings.evaluate, entry.stage.folder, settings.evaluate.extraction, reporter)
    else:
        run = _make(settings, reporter, "evaluate")
    for entry in _of_kinds(settings, run, "evaluate"):
        _show_failures(entry.stage.folder, failures, reporter)
    reporter.finish([str(run.root / "evaluate")], [f"evolcoder report {arguments}"])


def evaluate_apart(
    settings: RunSettings,
    reporter: Reporter,
    out: Folder,
    failures: int = 0,
    *,
    samples: Path | None = None,
    base_url: str | None = None,
    model: str | None = None,
) -> None:
    """Score, into ``out``, what is of no run: programs of a file; else a model at ``base_url``, or of this machine.

    With none of the three, the answers that ``out`` holds are judged again. The key of an endpoint is read from
    ``teacher.api_key_env``.
    """
    from evolcoder.endpoint.checking import api_key_from_environment
    from evolcoder.endpoint.requests import Endpoint
    from evolcoder.evaluate.measurement import model_stage
    from evolcoder.evaluate.pipeline import evaluate_samples
    from evolcoder.evaluate.pipeline import rescore as judge_again

    wanted = settings.evaluate
    several = len(wanted.benchmarks) > 1
    places = {benchmark: out / benchmark if several else out for benchmark in wanted.benchmarks}
    if samples is not None:
        reporter.stage(f"Evaluate {samples}")
        _check_left_out(settings)
        for benchmark, place in places.items():
            evaluate_samples(samples, benchmark, wanted.extraction, place, wanted, reporter)
    elif model is not None and base_url is not None:
        reporter.stage(f"Evaluate {model} at {base_url}")
        key = api_key_from_environment(settings.teacher.api_key_env)
        dialect = {name: getattr(settings.teacher, name) for name in ("max_tokens_field", "stream")}
        endpoint = Endpoint(base_url, model, key, settings_section="evaluate", **dialect)
        stages = {name: model_stage(wanted, name, at, f"{base_url} {model}", wanted.style) for name, at in places.items()}
        _score(settings, stages, _reached(endpoint), reporter)
    elif model is not None:
        here = find_model(model, settings)
        reporter.stage(f"Evaluate {here.name}")
        style = here.style if wanted.style == "auto" else wanted.style
        stages = {name: model_stage(wanted, name, at, here.fingerprint, style) for name, at in places.items()}
        _score(settings, stages, _served(here, settings, reporter), reporter)
    else:
        reporter.stage(f"Rescore {out}")
        places = {"": out}
        judge_again(wanted, out, wanted.extraction, reporter)
    for place in places.values():
        _show_failures(place, failures, reporter)
    reporter.finish([str(out)])


def compare(first: Folder, second: Folder, reporter: Reporter) -> None:
    """Two evaluations of one benchmark, problem by problem."""
    from evolcoder.study.compare import compare_evaluations, show_comparison

    reporter.stage(f"Compare {first} and {second}")
    show_comparison(compare_evaluations(first, second), reporter)


def report(settings: RunSettings, reporter: Reporter, arguments: str) -> None:
    """Draw what the run has so far."""
    _make(settings, reporter, "report")


def study(settings: RunSettings, reporter: Reporter, arguments: str) -> None:
    """The whole loop: evolve, train, serve and evaluate base and tuned, report."""
    from evolcoder.cluster import ray_kept
    from evolcoder.evaluate.benchmarks import benchmark_named

    for benchmark in settings.evaluate.benchmarks:
        benchmark_named(benchmark).problems()  # data that is missing is said before days of work, not after
    with ray_kept():
        _make(settings, reporter, *_MAKERS)


def demo(settings: RunSettings, reporter: Reporter, arguments: str) -> None:
    """The whole loop on this machine, and then where to look and what to do next."""
    reporter.stage("evolcoder demo")
    reporter.say(f"a 135M model teaches and learns: {settings.seeds.limit} seed tasks, {settings.evolve.rounds} rounds,")
    reporter.say(f"{settings.train.max_steps} training steps, HumanEval before and after. It shows the loop, not a good model.")
    study(settings, reporter, arguments)
    reporter.finish(
        (),
        [
            f"look at {RunFolder.open(settings).report}/report.html in a browser",
            f"evolcoder serve --model {shown_path(find_model(TUNED, settings).folder)}     # talk to the tuned model",
            "evolcoder init real --preset laptop     # a run of your own, from any Code Alpaca file",
        ],
    )


def status(settings: RunSettings, reporter: Reporter, arguments: str) -> None:
    """Which stages are there, as their manifests say; files are verified when a stage is used."""
    run = RunFolder.open(settings)
    rows: list[list[object]] = []
    for entry in run_stages(settings, run):
        manifest = entry.stage.manifest()
        if manifest is None:
            rows.append([entry.label, "to do", None, None, ""])
        else:
            changed = entry.stage.changed_inputs(manifest)
            state = f"to do again: {', '.join(changed)} changed since" if changed else "done"
            counted = manifest.summary.get("tasks") or manifest.summary.get("rows") or manifest.rows or None
            rows.append([entry.label, state, counted, manifest.created_at, str(entry.stage.folder)])
    reporter.table(f"{run.root}", ["stage", "state", "rows or tasks", "made", "where"], rows)


def plan(settings: RunSettings, reporter: Reporter, arguments: str) -> None:
    """What the run would do and cost; sends nothing."""
    from evolcoder.plan import evolve_table, forecast_evolve, seed_count, study_table, training_table

    manifests = (entry.stage.manifest() for entry in _of_kinds(settings, RunFolder.open(settings), "round"))
    finished = [manifest for manifest in takewhile(bool, manifests) if manifest]
    forecast = forecast_evolve(settings, seed_count(settings, finished, reporter), finished)
    reporter.stage(f"Plan {settings.name}: nothing is sent")
    reporter.table(*evolve_table(settings, forecast))
    reporter.table(*training_table(settings, forecast, _base_parameters(settings)))
    if settings.study.several_models:
        reporter.table(*study_table(settings, forecast))
    status(settings, reporter, arguments)
    reporter.finish((), [f"evolcoder study {arguments}"])


def _open(settings: RunSettings) -> RunFolder:
    run = RunFolder.open(settings)
    run.write_settings(settings)
    return run


def _of_kinds(settings: RunSettings, run: RunFolder, *kinds: Kind) -> list[RunStage]:
    return [entry for entry in run_stages(settings, run) if entry.kind in kinds]


def _make(settings: RunSettings, reporter: Reporter, *kinds: Kind) -> RunFolder:
    """Make the run's stages of these kinds, all of a kind and a model at once.

    Raises:
        IncompleteError: of a study's models, some could not be trained or scored; all else is made.
    """
    run = _open(settings)
    failed: dict[str, EvolcoderError] = {}
    for (kind, model), group in groupby(_of_kinds(settings, run, *kinds), key=lambda entry: (entry.kind, entry.model)):
        if model in failed:
            continue
        try:
            _MAKERS[kind](settings, run, list(group), reporter)
        except (TrainingError, ModelError, DataError, IncompleteError) as error:
            if not model or not settings.study.several_models:
                raise
            reporter.warn(f"{model} is left out: {error.message}")
            failed[model] = error
    if failed:
        first = next(iter(failed.values()))
        raise IncompleteError(f"The same command tries {', '.join(failed)} again; all else is made. {first.message}")
    return run


def _evolve(settings: RunSettings, run: RunFolder, rounds: Sequence[RunStage], reporter: Reporter) -> None:
    from evolcoder.evolve.rounds.identity import check_benchmarks

    last = settings.evolve.rounds
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

    build_dataset(settings, run, reporter)


def _train(settings: RunSettings, run: RunFolder, trainings: Sequence[RunStage], reporter: Reporter) -> None:
    from evolcoder.train.launch import train as train_model

    for entry in trainings:
        reporter.stage(f"Train {settings.name}" if entry.model == TUNED else f"Train {entry.model}: {entry.label}")
        train_model(settings, run, entry.stage, find_model(BASE, settings).folder, reporter, entry.variant)


def _evaluate(settings: RunSettings, run: RunFolder, scores: Sequence[RunStage], reporter: Reporter) -> None:
    which = scores[0].model
    model = find_model(which, settings)
    reporter.stage(f"Evaluate {which}: {model.name}")
    stages = {entry.benchmark: entry.stage for entry in scores}
    with run.lock("evaluate"):
        _score(settings, stages, _served(model, settings, reporter), reporter)


def _report(settings: RunSettings, run: RunFolder, reports: Sequence[RunStage], reporter: Reporter) -> None:
    from evolcoder.study.report import write_report

    reporter.stage(f"Report {settings.name}")
    for entry in reports:
        write_report(settings, run, entry.stage, reporter)


_MAKERS: dict[Kind, Callable[[RunSettings, RunFolder, Sequence[RunStage], Reporter], None]] = {
    "round": _evolve,
    "dataset": _merge_rounds,
    "train": _train,
    "evaluate": _evaluate,
    "report": _report,
}
"""How the stages of each kind, and of one model, are made."""


def _score(
    settings: RunSettings, stages: Mapping[str, Stage], answering: AbstractContextManager[Endpoint], reporter: Reporter
) -> None:
    """Score one model by benchmark; ``answering`` is entered only when some score is not there yet."""
    from evolcoder.evaluate.pipeline import evaluate as evaluate_benchmark
    from evolcoder.evaluate.result import read_score, show

    _check_left_out(settings)
    to_do = []
    for benchmark, stage in stages.items():
        _ = stage.resolved_identity  # a style that the benchmark has not is said before anything is served
        if stage.state().done:
            reporter.say(f"{benchmark} is done: no question is asked again")
            show(reporter, read_score(stage.folder))
        else:
            to_do.append(stage)
    if to_do:
        with answering as endpoint:
            for stage in to_do:
                evaluate_benchmark(stage, settings.evaluate, endpoint, endpoint.model, reporter)


def _check_left_out(settings: RunSettings) -> None:
    from evolcoder.evaluate.benchmarks import benchmark_named
    from evolcoder.evaluate.questions import check_left_out

    check_left_out([benchmark_named(name) for name in settings.evaluate.benchmarks], settings.evaluate)


def _show_failures(place: Folder, most: int, reporter: Reporter) -> None:
    from evolcoder.evaluate.result import read_verdicts, show_failures

    if most:
        show_failures(reporter, read_verdicts(place), most)


def _base_parameters(settings: RunSettings) -> int | None:
    """The base model's size, when its config is on this machine; a plan downloads nothing."""
    from evolcoder.train.model_size import parameter_count

    which = settings.train.base_model
    if which != EMBEDDED and not (Path(which).expanduser() / "config.json").is_file():
        return None
    return parameter_count(find_model(BASE, settings).folder)


@contextmanager
def _reached(endpoint: Endpoint) -> Iterator[Endpoint]:
    """An endpoint of others, once it has answered to its key and knows the model."""
    from evolcoder.endpoint.checking import check_endpoint

    check_endpoint(endpoint)
    yield endpoint


@contextmanager
def _served(model: Model, settings: RunSettings, reporter: Reporter) -> Iterator[Endpoint]:
    """A model of this machine, served while the block lasts."""
    from evolcoder.cluster import ray_session
    from evolcoder.endpoint.requests import Endpoint
    from evolcoder.serve.launch import serving

    with ray_session(), serving(model.folder, model.name, settings.serve, port=None, reporter=reporter) as served:
        yield Endpoint(served.base_url, served.name, served.api_key, settings_section="evaluate")


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
        with _served(find_model(EMBEDDED, settings), settings, reporter) as endpoint:
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
