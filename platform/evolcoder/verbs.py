"""What each verb does, from settings to the last line it shows.

The command line and ``jobs/`` both call these functions. Here, and only here, stages are put together: a verb that
needs the embedded teacher or a local model served starts it and passes its address on. Heavy packages are imported by
the verb that uses them.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby, takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from evolcoder.console import Reporter
from evolcoder.errors import ClusterError, SettingsError
from evolcoder.exits import guarded
from evolcoder.models import TUNED, Model, find_model
from evolcoder.runs import RunFolder
from evolcoder.settings import EMBEDDED, EndpointSettings, RunSettings
from evolcoder.settings_files import load_settings
from evolcoder.stages import Kind, RunStage, run_stages
from evolcoder.storage.folders import Folder, shown_path
from evolcoder.storage.stage import Stage

if TYPE_CHECKING:
    from evolcoder.endpoint.requests import Endpoint

Verb = Callable[[RunSettings, Reporter, str], None]
"""Called with the settings, the reporter, and the arguments as typed, for the commands that the verb suggests next."""


def evolve(settings: RunSettings, reporter: Reporter, arguments: str) -> None:
    """Evolve the seeds for the rounds that are not there yet, and merge them into the training set."""
    run = _open(settings)
    _evolve(settings, run, _of_kind(settings, run, "round"), reporter)
    _merge_rounds(settings, run, reporter)
    reporter.finish([str(run.dataset)], [f"evolcoder train {arguments}"])


def train(settings: RunSettings, reporter: Reporter, arguments: str) -> None:
    """Fine-tune the base model on the training set and export it."""
    run = _open(settings)
    _train(settings, run, _of_kind(settings, run, "train"), reporter)
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
    run = _open(settings)
    scores = _of_kind(settings, run, "evaluate")
    (_rescore if rescore else _evaluate)(settings, run, scores, reporter)
    for score in scores:
        _show_failures(score.stage.folder, failures, reporter)
    reporter.finish([str(run.root / "evaluate")], [f"evolcoder report {arguments}"])


def evaluate_endpoint(settings: RunSettings, base_url: str, model: str, out: Folder, failures: int, reporter: Reporter) -> None:
    """Score whatever model an endpoint serves; the key is read from ``teacher.api_key_env``."""
    from evolcoder.endpoint.checking import api_key_from_environment, check_endpoint
    from evolcoder.endpoint.requests import Endpoint
    from evolcoder.evaluate.benchmarks import benchmark_named
    from evolcoder.evaluate.measurement import model_stage
    from evolcoder.evaluate.pipeline import evaluate as evaluate_benchmark
    from evolcoder.evaluate.prompts import style_named

    wanted = settings.evaluate
    endpoint = Endpoint(base_url, model, api_key_from_environment(settings.teacher.api_key_env))
    reporter.stage(f"Evaluate {model} at {base_url}")
    for name in wanted.benchmarks:
        style_named(benchmark_named(name), wanted.style)  # a wrong style is said before anything is asked
    check_endpoint(endpoint)
    for benchmark, place in _places(settings, out):
        stage = model_stage(wanted, benchmark, place, f"{base_url} {model}", wanted.style)
        evaluate_benchmark(stage, wanted, endpoint, model, reporter)
        _show_failures(place, failures, reporter)
    reporter.finish([str(out)])


def evaluate_folder(settings: RunSettings, which: str, out: Folder, failures: int, reporter: Reporter) -> None:
    """Score a model of this machine, which is served for as long as it takes."""
    from evolcoder.evaluate.measurement import model_stage

    model = find_model(which, settings)
    reporter.stage(f"Evaluate {model.name}")
    style = model.style if settings.evaluate.style == "auto" else settings.evaluate.style
    stages = {
        benchmark: model_stage(settings.evaluate, benchmark, place, model.fingerprint, style)
        for benchmark, place in _places(settings, out)
    }
    _evaluate_model(settings, model, stages, reporter)
    for stage in stages.values():
        _show_failures(stage.folder, failures, reporter)
    reporter.finish([str(out)])


def evaluate_samples(settings: RunSettings, samples: Path, out: Folder, failures: int, reporter: Reporter) -> None:
    """Score the programs of a file."""
    from evolcoder.evaluate.pipeline import evaluate_samples as score_samples

    wanted = settings.evaluate
    reporter.stage(f"Evaluate {samples}")
    for benchmark, place in _places(settings, out):
        score_samples(samples, benchmark, wanted.extraction or "wizardcoder", place, wanted, reporter)
        _show_failures(place, failures, reporter)
    reporter.finish([str(out)])


def rescore(settings: RunSettings, out: Folder, failures: int, reporter: Reporter) -> None:
    """Judge the stored answers of one evaluation again."""
    from evolcoder.evaluate.pipeline import rescore as judge_again

    reporter.stage(f"Rescore {out}")
    judge_again(settings.evaluate, out, settings.evaluate.extraction, reporter)
    _show_failures(out, failures, reporter)
    reporter.finish([str(out)])


def compare(first: Folder, second: Folder, reporter: Reporter) -> None:
    """Two evaluations of one benchmark, problem by problem."""
    from evolcoder.study.compare import compare_evaluations, show_comparison

    reporter.stage(f"Compare {first} and {second}")
    show_comparison(compare_evaluations(first, second), reporter)


def report(settings: RunSettings, reporter: Reporter, arguments: str) -> None:
    """Draw what the run has so far."""
    run = _open(settings)
    _report(settings, run, _of_kind(settings, run, "report"), reporter)


def study(settings: RunSettings, reporter: Reporter, arguments: str) -> None:
    """The whole loop: evolve, train, serve and evaluate base and tuned, report."""
    from evolcoder.cluster import ray_kept
    from evolcoder.evaluate.benchmarks import benchmark_named

    for benchmark in settings.evaluate.benchmarks:
        benchmark_named(benchmark).problems()  # data that is missing is said before days of work, not after
    run = _open(settings)
    stages = run_stages(settings, run)
    with ray_kept():
        for kind, group in groupby(stages, key=lambda entry: entry.kind):
            _MAKERS[kind](settings, run, list(group), reporter)


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
            f"evolcoder serve --model {shown_path(find_model('tuned', settings).folder)}     # talk to the tuned model",
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
    from evolcoder.plan import evolve_table, forecast_evolve, seed_count, training_table

    manifests = (entry.stage.manifest() for entry in _of_kind(settings, RunFolder.open(settings), "round"))
    finished = [manifest for manifest in takewhile(bool, manifests) if manifest]
    forecast = forecast_evolve(settings, seed_count(settings, finished, reporter), finished)
    reporter.stage(f"Plan {settings.name}: nothing is sent")
    reporter.table(*evolve_table(settings, forecast))
    reporter.table(*training_table(settings, forecast, _base_parameters(settings)))
    status(settings, reporter, arguments)
    reporter.finish((), [f"evolcoder study {arguments}"])


def run_verb(verb: Verb, arguments: Sequence[str]) -> int:
    """Run a verb as ``RUN.yaml key=value ...`` asks; returns the exit code. Expected failures print one sentence."""
    if not arguments:
        sys.stderr.write("error: name the run's YAML file, then any section.key=value overrides.\n")
        return 2

    def act() -> None:
        reporter = Reporter()
        settings = load_settings(arguments[0], arguments[1:])
        if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
            settings = _with_lasting_storage(settings, reporter)
        verb(settings, reporter, shlex.join(arguments))

    return guarded(act, again="the same command")


def _with_lasting_storage(settings: RunSettings, reporter: Reporter) -> RunSettings:
    """A submitted job runs in a copy of the uploaded folder, which Ray deletes, and a relative path would lie inside it.

    On one machine it is taken below the home folder instead; on several no relative path can be meant.

    Raises:
        SettingsError: the storage is relative and the cluster has several machines.
    """
    from evolcoder.cluster import machine_count, ray_session

    storage = settings.storage
    if "://" in storage or Path(storage).expanduser().is_absolute():
        return settings
    with ray_session():
        machines = machine_count()
    if machines > 1:
        raise SettingsError(
            f"storage={storage} is relative, which means nothing on a cluster of {machines} machines; set storage to "
            "s3://bucket/prefix, or to an absolute path that every machine shares."
        )
    kept = Path.home() / "evolcoder" / storage
    reporter.warn(f"storage={storage} is relative and the folder of a submitted job is temporary: the run is kept in {kept}")
    return settings.model_copy(update={"storage": str(kept)})


def _of_kind(settings: RunSettings, run: RunFolder, kind: Kind) -> list[RunStage]:
    return [entry for entry in run_stages(settings, run) if entry.kind == kind]


def _evolve(settings: RunSettings, run: RunFolder, rounds: Sequence[RunStage], reporter: Reporter) -> None:
    from evolcoder.cluster import ray_session
    from evolcoder.evolve.rounds.identity import check_benchmarks

    last = settings.evolve.rounds
    reporter.stage(f"Evolve {settings.name}: {last} round{'s' if last != 1 else ''}")
    _ = rounds[0].stage.resolved_identity  # reads the seeds: what is wrong with them is said before anything starts
    if all(entry.stage.state().done for entry in rounds):
        reporter.say(f"rounds 0 to {last} are done: no request is sent")
        return
    check_benchmarks(settings.evolve)
    with _teacher(settings, reporter) as endpoints, ray_session():
        from evolcoder.evolve.rounds.pipeline import evolve as evolve_rounds  # imports Ray, which the session must set up first

        evolve_rounds(settings, run, endpoints, reporter)


def _merge_rounds(settings: RunSettings, run: RunFolder, reporter: Reporter) -> None:
    from evolcoder.evolve.dataset.build import build_dataset

    build_dataset(settings, run, reporter)


def _train(settings: RunSettings, run: RunFolder, trainings: Sequence[RunStage], reporter: Reporter) -> None:
    from evolcoder.cluster import ray_session
    from evolcoder.train.launch import train as train_model

    reporter.stage(f"Train {settings.name}")
    for entry in trainings:
        if entry.stage.state().done:
            reporter.say("training is done: nothing is trained again")
            continue
        with ray_session():
            train_model(settings, run, entry.stage, find_model("base", settings).folder, reporter)


def _evaluate(settings: RunSettings, run: RunFolder, scores: Sequence[RunStage], reporter: Reporter) -> None:
    _check_left_out(settings)
    for which, entries in groupby(scores, key=lambda entry: entry.model):
        model = find_model(which, settings)
        reporter.stage(f"Evaluate {which}: {model.name}")
        with run.lock("evaluate"):
            _evaluate_model(settings, model, {entry.benchmark: entry.stage for entry in entries}, reporter)


def _rescore(settings: RunSettings, run: RunFolder, scores: Sequence[RunStage], reporter: Reporter) -> None:
    from evolcoder.evaluate.pipeline import rescore as judge_again

    for which, entries in groupby(scores, key=lambda entry: entry.model):
        reporter.stage(f"Rescore {which}")
        with run.lock("evaluate"):
            for entry in entries:
                judge_again(settings.evaluate, entry.stage.folder, settings.evaluate.extraction, reporter)


def _report(settings: RunSettings, run: RunFolder, reports: Sequence[RunStage], reporter: Reporter) -> None:
    from evolcoder.study.report import write_report

    reporter.stage(f"Report {settings.name}")
    for entry in reports:
        written = write_report(settings, run, entry.stage)
        if written.already_done:
            reporter.say("nothing changed since it was drawn: it is left as it is")
        reporter.table("Scores", written.columns, written.rows)
        reporter.finish(written.paths)


_MAKERS: dict[Kind, Callable[[RunSettings, RunFolder, list[RunStage], Reporter], None]] = {
    "round": _evolve,
    "dataset": lambda settings, run, entries, reporter: _merge_rounds(settings, run, reporter),
    "train": _train,
    "evaluate": _evaluate,
    "report": _report,
}
"""How the stages of each kind are made, all of a kind that follow one another at once."""


def _places(settings: RunSettings, out: Folder) -> list[tuple[str, Folder]]:
    """Where each benchmark's score goes: the folder itself when there is one benchmark."""
    _check_left_out(settings)
    benchmarks = settings.evaluate.benchmarks
    return [(benchmark, out if len(benchmarks) == 1 else out / benchmark) for benchmark in benchmarks]


def _check_left_out(settings: RunSettings) -> None:
    from evolcoder.evaluate.benchmarks import benchmark_named
    from evolcoder.evaluate.questions import check_left_out

    check_left_out([benchmark_named(name) for name in settings.evaluate.benchmarks], settings.evaluate)


def _show_failures(place: Folder, most: int, reporter: Reporter) -> None:
    from evolcoder.evaluate.result import read_verdicts, show_failures

    if most:
        show_failures(reporter, read_verdicts(place), most)


def _open(settings: RunSettings) -> RunFolder:
    run = RunFolder.open(settings)
    run.write_settings(settings)
    return run


def _base_parameters(settings: RunSettings) -> int | None:
    """The base model's size, when its config is on this machine; a plan downloads nothing."""
    from evolcoder.train.model_size import parameter_count

    which = settings.train.base_model
    if which != EMBEDDED and not (Path(which).expanduser() / "config.json").is_file():
        return None
    return parameter_count(find_model("base", settings).folder)


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
            place = one.base_url or teacher.base_url
            endpoints.append(
                Endpoint(place, teacher.model, key, teacher.timeout_seconds, teacher.max_attempts, teacher.transport)
            )
            check_endpoint(endpoints[-1])  # before Ray starts, so that a wrong key is said at once
        yield endpoints
        return
    from evolcoder.serve.launch import serving

    model = find_model(EMBEDDED, settings)
    with ray_session():
        if machine_count() > 1:
            raise ClusterError("The embedded teacher answers on one machine alone: set teacher.base_url to an endpoint.")
        with serving(model.folder, model.name, settings.serve, port=None, reporter=reporter) as served:
            yield [Endpoint(served.base_url, served.name, served.api_key, teacher.timeout_seconds, teacher.max_attempts)]


def _evaluate_model(settings: RunSettings, model: Model, stages: Mapping[str, Stage], reporter: Reporter) -> None:
    """Score one local model by benchmark, serving it only when some score is not there yet."""
    from evolcoder.cluster import ray_session
    from evolcoder.endpoint.requests import Endpoint
    from evolcoder.evaluate.pipeline import evaluate as evaluate_benchmark
    from evolcoder.serve.launch import serving

    to_do = []
    for benchmark, stage in stages.items():
        if stage.state().done:
            reporter.say(f"{benchmark} is done: no question is asked again")
        else:
            to_do.append(stage)
            _ = stage.resolved_identity  # a style that the benchmark has not is said before anything is served
    if not to_do:
        return
    with ray_session(), serving(model.folder, model.name, settings.serve, port=None, reporter=reporter) as served:
        endpoint = Endpoint(served.base_url, served.name, served.api_key)
        for stage in to_do:
            evaluate_benchmark(stage, settings.evaluate, endpoint, model.name, reporter)
