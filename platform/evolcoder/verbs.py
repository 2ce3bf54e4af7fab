"""What each verb does, from settings to the last line it shows.

The command line and submitted jobs both call these functions, with the settings, the reporter, and the arguments as typed,
for the commands that the verb suggests next. How stages are made is the matter of ``making/``. Heavy packages are imported
by the verb that uses them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby, takewhile
from pathlib import Path

from evolcoder.console import Reporter, format_seconds
from evolcoder.making.evol_stop import evolve_until_it_ends
from evolcoder.making.kinds import make, make_stages, of_kinds, open_run
from evolcoder.making.scores import check_left_out, reached, score, served
from evolcoder.models import find_model
from evolcoder.run.evol_stop import at_most, decided
from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import BASE, TUNED, all_benchmarks
from evolcoder.settings.run import RunSettings
from evolcoder.settings.section import AUTO, EMBEDDED
from evolcoder.stages.listing import run_stages
from evolcoder.stages.progress import progress_of, questions_of, stage_status, training_pace
from evolcoder.storage.folders import Folder, shown_path

WATCH_SECONDS = 2.0


def evolve(settings: RunSettings, reporter: Reporter, arguments: str) -> None:
    """Evolve the seeds for the rounds that are not there yet, and merge them into the training set."""
    run = make(settings, reporter, "round", "dataset")
    if settings.evolve.rounds == AUTO and not (so_far := decided(settings, run)).ended:
        reporter.say(
            f"evolve.rounds is auto, and rounds 0 to {so_far.rounds} are decided on so far: `evolcoder study` trains on them, "
            "scores, and decides whether there is another"
        )
        reporter.finish([str(run.round(so_far.rounds))], [f"evolcoder study {arguments}"])
        return
    reporter.finish([str(run.dataset)], [f"evolcoder train {arguments}"])


def train(settings: RunSettings, reporter: Reporter, arguments: str) -> None:
    """Fine-tune the base model on the training set and export it."""
    make(settings, reporter, "train")
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
        reporter.say(f"listening on {served.base_url} as {served.model}; Ctrl-C stops it")
        reporter.finish(
            (), [f"curl {served.base_url}/models", f"evolcoder evaluate --endpoint {served.base_url} --model {served.model}"]
        )
        wait_while_serving()


def evaluate(settings: RunSettings, reporter: Reporter, arguments: str, rescore: bool = False, failures: int = 0) -> None:
    """Score the run's models on the run's benchmarks; or judge the answers that they gave again."""
    from evolcoder.evaluate import pipeline
    from evolcoder.evaluate.result import show_failures

    if rescore:
        run = open_run(settings)
        for which, entries in groupby(of_kinds(settings, run, "evaluate"), key=lambda entry: entry.model):
            reporter.stage(f"Rescore {which}")
            with run.lock("evaluate"):
                for entry in entries:
                    pipeline.rescore(settings.evaluate, entry.stage.folder, settings.evaluate.extraction, reporter)
    else:
        run = make(settings, reporter, "evaluate")
    if failures:
        for entry in of_kinds(settings, run, "evaluate"):
            show_failures(reporter, entry.stage.folder, failures)
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
    from evolcoder.evaluate import pipeline
    from evolcoder.evaluate.measurement import model_stage
    from evolcoder.evaluate.result import show_failures

    wanted = settings.evaluate
    several = len(wanted.benchmarks) > 1
    places = {benchmark: out / benchmark if several else out for benchmark in wanted.benchmarks}
    if samples is not None:
        reporter.stage(f"Evaluate {samples}")
        check_left_out(settings)
        for benchmark, place in places.items():
            pipeline.evaluate_samples(samples, benchmark, wanted.extraction, place, wanted, reporter)
    elif model is not None and base_url is not None:
        reporter.stage(f"Evaluate {model} at {base_url}")
        key = api_key_from_environment(settings.teacher.api_key_env)
        dialect = {name: getattr(settings.teacher, name) for name in ("max_tokens_field", "stream")}
        endpoint = Endpoint(base_url, model, key, settings_section="evaluate", **dialect)
        stages = {name: model_stage(wanted, name, at, f"{base_url} {model}", wanted.style) for name, at in places.items()}
        score(settings, stages, reached(endpoint), reporter)
    elif model is not None:
        here = find_model(model, settings)
        reporter.stage(f"Evaluate {here.name}")
        style = here.style if wanted.style == "auto" else wanted.style
        stages = {name: model_stage(wanted, name, at, here.fingerprint, style) for name, at in places.items()}
        score(settings, stages, served(here, settings, reporter), reporter)
    else:
        reporter.stage(f"Rescore {out}")
        places = {"": out}
        pipeline.rescore(wanted, out, wanted.extraction, reporter)
    if failures:
        for place in places.values():
            show_failures(reporter, place, failures)
    reporter.finish([str(out)])


def compare(folders: Sequence[Folder], reporter: Reporter) -> None:
    """Two evaluations of one benchmark, problem by problem; or every two of several."""
    from evolcoder.study.compare import compare_evaluations, show_comparisons
    from evolcoder.study.rules import different_rules

    first, *others = folders
    reporter.stage(f"Compare {', '.join(map(str, folders[:-1]))} and {folders[-1]}")
    show_comparisons(compare_evaluations(folders), reporter)
    for other in others:
        if rules := different_rules(first, other):
            reporter.warn(f"{first} and {other} were made by different rules, which may be what differs: {'; '.join(rules)}")


def report(settings: RunSettings, reporter: Reporter, arguments: str) -> None:
    """Draw what the run has so far."""
    make(settings, reporter, "report")
    reporter.finish((), [f"evolcoder view {arguments}"])


def study(settings: RunSettings, reporter: Reporter, arguments: str) -> None:
    """The whole loop: evolve, train, serve and evaluate all models of the run, report."""
    _whole_loop(settings, reporter)
    reporter.finish((), [f"evolcoder view {arguments}"])


def _whole_loop(settings: RunSettings, reporter: Reporter) -> None:
    from evolcoder.cluster import ray_kept
    from evolcoder.evaluate.benchmarks import benchmark_named

    for benchmark in all_benchmarks(settings):
        benchmark_named(benchmark).problems()  # data that is missing is said before days of work, not after
    run = open_run(settings)
    with ray_kept():
        if settings.evolve.rounds == AUTO:
            evolve_until_it_ends(settings, run, reporter)
        entries = run_stages(settings, run)
        decided_by = next((number for number, entry in enumerate(entries) if entry.kind == "evol_stop"), -1)
        make_stages(settings, run, entries[decided_by + 1 :], reporter)


def demo(settings: RunSettings, reporter: Reporter, arguments: str) -> None:
    """The whole loop on this machine, and then where to look and what to do next."""
    reporter.stage("evolcoder demo")
    reporter.say(f"a 135M model teaches and learns: {settings.seeds.limit} seed tasks, {settings.evolve.rounds} rounds,")
    reporter.say(f"{settings.train.max_steps} training steps, HumanEval before and after. It shows the loop, not a good model.")
    _whole_loop(settings, reporter)
    run = RunFolder.open(settings)
    reporter.finish(
        (),
        [
            f"look at {run.report}/report.html in a browser",
            f"evolcoder view {run.root}/run.yaml     # search rows, walk families, read answers",
            f"evolcoder serve --model {shown_path(find_model(TUNED, settings).folder)}     # talk to the tuned model",
            "evolcoder init real --preset laptop     # a run of your own, from any Code Alpaca file",
        ],
    )


def status(settings: RunSettings, reporter: Reporter, arguments: str, watch: bool = False) -> None:
    """Which stages are there, as their manifests say, and how far those are that were begun; files are verified when a stage is
    used. With ``watch`` until all are there, or Ctrl-C.
    """
    run = RunFolder.open(settings)
    if watch:
        reporter.watch(lambda: _stages_now(settings, run), WATCH_SECONDS)
        return
    title, columns, rows, _ = _stages_now(settings, run)
    reporter.table(title, columns, rows)


def _stages_now(settings: RunSettings, run: RunFolder) -> tuple[str, list[str], list[list[object]], bool]:
    """All stages as a table, and whether all are done."""
    rows: list[list[object]] = []
    complete, now = True, time.time()
    for entry in run_stages(settings, run):
        status_now = stage_status(entry)
        complete = complete and status_now.done
        where = str(entry.stage.folder)
        if status_now.manifest is not None:
            rows.append([entry.label, status_now.text, status_now.count, status_now.manifest.created_at, where])
        elif begun := progress_of(entry, settings, run):
            ago = f"{format_seconds(max(0.0, now - begun.changed_at))} ago"
            rows.append([entry.label, begun.text(now), None, ago, where])
        else:
            rows.append([entry.label, status_now.text, None, None, ""])
    return f"{run.root}", ["stage", "state", "rows or tasks", "made", "where"], rows, complete


def plan(settings: RunSettings, reporter: Reporter, arguments: str) -> None:
    """What the run would do and cost; sends nothing. Where Evol Stop may still end it earlier, the most that it would."""
    from evolcoder.evolve.seeds.load import load_seeds
    from evolcoder.plan import evolve_table, forecast_evolve, memory_table, scores_table, study_table, training_table
    from evolcoder.train.model_size import read_shape

    run = RunFolder.open(settings)
    entries = run_stages(settings, run)
    manifests = (entry.stage.manifest() for entry in entries if entry.kind == "round")
    finished = [manifest for manifest in takewhile(bool, manifests) if manifest]
    most, models, wanted = at_most(settings, run)
    seeds = int(finished[0].summary.get("kept", finished[0].rows)) if finished else len(load_seeds(most.seeds, reporter))
    forecast = forecast_evolve(most, seeds, finished)
    reporter.stage(f"Plan {settings.name}: nothing is sent")
    if settings.evolve.rounds == AUTO and not decided(settings, run).ended:
        reporter.say(f"evolve.rounds is auto: this is what it takes if all {most.evolve.last_round} rounds are evolved")
    reporter.table(*evolve_table(most, forecast))
    base = settings.train.base_model
    at_hand = base == EMBEDDED or (Path(base).expanduser() / "config.json").is_file()  # a plan downloads nothing
    shape = read_shape(find_model(BASE, settings).folder, settings.train) if at_hand else None
    reporter.table(*training_table(most, forecast, training_pace(entries, settings)))
    reporter.table(*memory_table(settings.train, shape))
    done = [entry for entry in entries if stage_status(entry).done]
    if len(models) > 1:
        trained = {entry.model for entry in done if entry.kind == "train"}
        merged = [manifest for entry in done if entry.kind == "dataset" and (manifest := entry.stage.manifest())]
        rows_by_round = merged[0].summary["rows_by_round"] if merged else {}
        reporter.table(*study_table(most, models, forecast, trained, rows_by_round))
    scored = {(entry.model, entry.benchmark) for entry in done if entry.kind == "evaluate"}
    questions = {name: questions_of(name, settings) for name in dict.fromkeys(name for _, name in wanted)}
    reporter.table(*scores_table(wanted, scored, questions))
    status(settings, reporter, arguments)
    reporter.finish((), [f"evolcoder study {arguments}"])
