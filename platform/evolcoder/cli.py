"""The command line: ``evolcoder VERB RUN.yaml section.key=value ...``.

Declarations only: what a verb does is in ``verbs``. Nothing heavy is imported until a verb runs, so help is instant.
"""

from __future__ import annotations

import os
import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from evolcoder.benchmark_table import BENCHMARKS, benchmark_files
from evolcoder.errors import SettingsError
from evolcoder.exits import guarded, program

if TYPE_CHECKING:
    from evolcoder.console import Reporter
    from evolcoder.settings.run import RunSettings


class _GuardedGroup(TyperGroup):
    """Turns a verb's expected failures into one sentence and an exit code; usage errors stay typer's."""

    def invoke(self, ctx: Any) -> None:
        code = guarded(lambda: super(_GuardedGroup, self).invoke(ctx), again=shlex.join([program(), *sys.argv[1:]]))
        if code:
            raise typer.Exit(code)


app = typer.Typer(
    cls=_GuardedGroup,
    name="evolcoder",
    help="Turn coding tasks and a teacher model into a better code model, and prove it.",
    epilog="Start with `evolcoder demo`, or `evolcoder init NAME --preset laptop`. Running a verb again goes on.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _options(show_version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    if show_version:
        typer.echo(f"evolcoder {version('evolcoder')}")
        raise typer.Exit


data_app = typer.Typer(
    name="data", help="The benchmarks' data.", no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
)
app.add_typer(data_app)

RunFile = Annotated[Path, typer.Argument(metavar="RUN.yaml", help="The run's settings.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="section.key=value ...", help="Override settings.")]
RunFileOrNone = Annotated[list[str] | None, typer.Argument(metavar="[RUN.yaml] [section.key=value ...]")]
Output = Annotated[
    Literal["auto", "live", "plain", "json"],
    typer.Option("--output", help="Live panels, plain lines, or one JSON object a line; auto looks at the terminal."),
]


@app.command(epilog="Example: evolcoder init real --preset laptop")
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The run's name; writes NAME.yaml here.")],
    preset: Annotated[
        str, typer.Option(help="laptop, demo, full-8x80gb, lora-4x24gb, wizardcoder-15b or wizardcoder-3-epochs.")
    ] = "laptop",
    force: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
) -> None:
    """Write NAME.yaml from a preset, with a comment on each setting."""
    from evolcoder.settings.files import preset_text

    text = preset_text(preset, name)
    file = Path(f"{name}.yaml")
    if file.exists() and not force:
        raise SettingsError(f"{file} is already there; choose another name, or --force to replace it.")
    file.write_text(text, "utf-8")
    reporter = _reporter("auto")
    reporter.finish([str(file)], [f"evolcoder plan {file}", f"evolcoder study {file}"])


def _run_command(verb: str, summary: str, example: str) -> None:
    """Add a verb that takes a run's file, overrides, and nothing else."""

    def command(run: RunFile, overrides: Overrides = None, output: Output = "auto") -> None:
        from evolcoder import verbs
        from evolcoder.settings.files import load_settings

        typed = shlex.join([str(run), *(overrides or [])])
        getattr(verbs, verb)(load_settings(run, overrides or []), _reporter(output), typed)

    app.command(verb, help=summary, epilog=f"Example: evolcoder {verb} {example}")(command)


_run_command("plan", "Show what a run would do and cost; sends nothing.", "real.yaml evolve.rounds=3")
_run_command("evolve", "Evolve the seeds over rounds into a training set.", "real.yaml teacher.max_concurrency=16")
_run_command("train", "Fine-tune the base model on the training set.", "real.yaml train.max_steps=100")


@app.command(epilog="Examples: evolcoder serve real.yaml | evolcoder serve --model embedded serve.port=8001")
def serve(
    run_and_overrides: RunFileOrNone = None,
    model: Annotated[str | None, typer.Option(help="tuned, embedded, a model folder, or a hub id.")] = None,
    output: Output = "auto",
) -> None:
    """Serve a model behind an OpenAI-compatible endpoint until Ctrl-C."""
    from evolcoder import verbs

    arguments = list(run_and_overrides or [])
    if model is not None:
        arguments.append(f"serve.model={model}")
    settings, _ = _settings_with_or_without_file(arguments)
    verbs.serve(settings, _reporter(output), shlex.join(arguments))


@app.command(
    epilog="Examples: evolcoder evaluate real.yaml | "
    "evolcoder evaluate --endpoint http://127.0.0.1:8000/v1 --model NAME --style chat --benchmark humaneval+ | "
    "evolcoder evaluate --samples answers.jsonl --benchmark mbpp+ --out scores"
)
def evaluate(
    run_and_overrides: RunFileOrNone = None,
    endpoint: Annotated[str | None, typer.Option(help="Base URL of an OpenAI-compatible endpoint, ending in /v1.")] = None,
    model: Annotated[str | None, typer.Option(help="Its name at the endpoint; without one, a model folder to serve.")] = None,
    samples: Annotated[Path | None, typer.Option(help="Score programs from a JSONL file instead of asking a model.")] = None,
    benchmark: Annotated[str | None, typer.Option(help=", ".join(BENCHMARKS))] = None,
    style: Annotated[str | None, typer.Option(help="auto, base, few-shot, wizardcoder or chat.")] = None,
    extract: Annotated[
        str | None, typer.Option(help="From answer to code: chat, wizardcoder, stops, ds1000, sanitize or none.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the score goes when there is no run.")] = None,
    rescore: Annotated[bool, typer.Option("--rescore", help="Judge stored answers again; no model is asked.")] = False,
    failures: Annotated[int, typer.Option(min=0, help="Show so many programs that failed, with input and output.")] = 0,
    output: Output = "auto",
) -> None:
    """Score models: those of a run, one behind an endpoint or in a folder, or samples from a file."""
    from evolcoder import verbs
    from evolcoder.storage.folders import Folder

    arguments = list(run_and_overrides or [])
    reporter = _reporter(output)
    named = {"evaluate.benchmarks": benchmark and f"[{benchmark}]", "evaluate.style": style, "evaluate.extraction": extract}
    chosen = [*arguments, *(f"{key}={value}" for key, value in named.items() if value is not None)]
    settings, is_run = _settings_with_or_without_file(chosen)
    apart = samples is not None or endpoint is not None or model is not None
    if samples is None and endpoint is not None and model is None:
        raise SettingsError(f"--endpoint needs --model NAME; `curl {endpoint}/models` lists the names.")
    if is_run and not apart:
        verbs.evaluate(settings, reporter, shlex.join(chosen), rescore=rescore, failures=failures)
    elif apart or rescore:
        place = Folder.open(out or "evaluation")
        verbs.evaluate_apart(settings, reporter, place, failures, samples=samples, base_url=endpoint, model=model)
    else:
        raise SettingsError(
            "Name the run's YAML file, or --endpoint URL with --model NAME, or --model FOLDER, or --samples FILE."
        )


@app.command(epilog="Example: evolcoder compare scores-before scores-after")
def compare(
    first: Annotated[str, typer.Argument(help="A folder with a score.json.")],
    second: Annotated[str, typer.Argument(help="Another, of the same benchmark.")],
    more: Annotated[list[str] | None, typer.Argument(help="Others: every two of all are compared.")] = None,
    output: Output = "auto",
) -> None:
    """Compare evaluations of a benchmark: which problems flipped, and whether that is more than chance."""
    from evolcoder import verbs
    from evolcoder.storage.folders import Folder

    verbs.compare([Folder.open(place) for place in (first, second, *(more or []))], _reporter(output))


@data_app.command("list", epilog="Example: evolcoder data list")
def data_list(output: Output = "auto") -> None:
    """Show which benchmark data is here, and where the rest comes from."""
    from evolcoder.problems.fetch import list_benchmarks

    reporter = _reporter(output)
    list_benchmarks(reporter)
    fetched = [name for name, file in benchmark_files().items() if name in BENCHMARKS and not file.package]
    reporter.finish((), [f"evolcoder data fetch {' '.join(fetched)}"])


@data_app.command("fetch", epilog="Example: evolcoder data fetch humaneval+ mbpp+")
def data_fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME ...", help="As `evolcoder data list` shows them.")],
    output: Output = "auto",
) -> None:
    """Fetch benchmark data, from its release or from the hub at a pinned revision, and check it."""
    from evolcoder.problems.fetch import fetch

    reporter = _reporter(output)
    reporter.finish([str(path) for path in fetch(names, reporter)])


@data_app.command("ds1000-env", epilog="Example: evolcoder data ds1000-env")
def data_ds1000_env(output: Output = "auto") -> None:
    """Build the Python environment that DS-1000's programs run in: about 3 GB, once on a machine."""
    from evolcoder.evaluate.benchmarks.ds1000.environment import build_environment

    reporter = _reporter(output)
    reporter.finish([str(build_environment(reporter.say))], ["evolcoder evaluate --samples FILE --benchmark ds1000 --out DIR"])


_run_command("study", "Do the whole loop: evolve, train, serve and evaluate all models of the run, report.", "real.yaml")
_run_command("report", "Draw the report of what a run has so far: HTML, markdown, JSON and pictures.", "real.yaml")


@app.command(epilog="Example: evolcoder status real.yaml --watch")
def status(
    run: RunFile,
    overrides: Overrides = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it until all is done, or Ctrl-C.")] = False,
    output: Output = "auto",
) -> None:
    """Show which stages of a run are done, and how far those are that were begun."""
    from evolcoder import verbs
    from evolcoder.settings.files import load_settings

    typed = shlex.join([str(run), *(overrides or [])])
    verbs.status(load_settings(run, overrides or []), _reporter(output), typed, watch=watch)


@app.command(epilog="Examples: evolcoder view real.yaml | evolcoder view real.yaml --export [FOLDER]")
def view(
    run: RunFile,
    overrides: Overrides = None,
    port: Annotated[int, typer.Option(help="Of 127.0.0.1; 0 is any that is free.")] = 8600,
    export: Annotated[
        bool, typer.Option("--export", help="Leave the pages in the run, or in a FOLDER that is named, and end.")
    ] = False,
    output: Output = "auto",
) -> None:
    """Look at a run's instructions, families, eliminated rows and answers in a browser, until Ctrl-C."""
    from evolcoder.explore.view import view as view_run
    from evolcoder.settings.files import load_settings

    given = list(overrides or [])
    folder = next((word for word in given if "=" not in word), None) if export else None
    if folder is not None:
        given.remove(folder)
    view_run(load_settings(run, given), _reporter(output), export, folder, port)


@app.command(epilog="Example: evolcoder doctor")
def doctor(output: Output = "auto") -> None:
    """Check Python, packages, sandbox, processors, storage and Ray on this machine."""
    from evolcoder.doctor import examine

    raise typer.Exit(0 if examine(_reporter(output)) else 1)


@app.command(epilog="Example: evolcoder demo --full")
def demo(
    overrides: Overrides = None,
    full: Annotated[bool, typer.Option("--full", help="Evaluate on all 164 problems instead of 32.")] = False,
    storage: Annotated[str, typer.Option(help="Where the run folder goes.")] = "runs",
    output: Output = "auto",
) -> None:
    """The whole loop in minutes on this machine: no key, no download."""
    from evolcoder import verbs
    from evolcoder.settings.files import load_preset

    chosen = [f"storage={storage}", *(["evaluate.limit=null"] if full else []), *(overrides or [])]
    verbs.demo(load_preset("demo", "demo", chosen), _reporter(output), shlex.join(chosen[1:]))


def main() -> None:
    """The console script."""
    app(prog_name="evolcoder")


def _settings_with_or_without_file(arguments: list[str]) -> tuple[RunSettings, bool]:
    """Settings from ``[RUN.yaml] key=value ...``, and whether there is a file; without one the embedded model is served."""
    from evolcoder.settings.files import load_settings, override_settings

    if arguments and ("=" not in arguments[0] or os.path.exists(arguments[0])):
        return load_settings(arguments[0], arguments[1:]), True
    return override_settings({"name": "adhoc", "serve": {"model": "embedded"}}, arguments, source="the command line"), False


def _reporter(output: str) -> Reporter:
    from evolcoder.console import Reporter

    return Reporter(None if output == "auto" else output)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
