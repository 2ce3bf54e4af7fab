"""Evaluate a model, or programs from a file, on one benchmark: ask, extract, run, score; each answer is asked for once.

Asking and running overlap: an answer's program is judged while other answers are still on their way. Programs are judged by
Ray actors over the cluster (Ray starts only when there is something to run); questions are asked from here.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evolcoder.cluster import ray_session
from evolcoder.console import Progress, Reporter
from evolcoder.endpoint.client import Endpoint, EndpointClient, RequestFailed, Sampling
from evolcoder.errors import IncompleteError
from evolcoder.evaluate.answers import AnswerLog
from evolcoder.evaluate.benchmarks import benchmark_named
from evolcoder.evaluate.benchmarks.base import Benchmark, Problem
from evolcoder.evaluate.extraction import extract, extraction_named
from evolcoder.evaluate.judge import Job
from evolcoder.evaluate.prompts import PromptStyle, pairing_warnings, prompt_text, style_named
from evolcoder.evaluate.result import Measurement, publish, read_score, score_from_file, show
from evolcoder.evaluate.samples import read_samples
from evolcoder.records import Completion, Score, Verdict, stable_hash
from evolcoder.runs import Folder, stage_state
from evolcoder.sandbox.box import BoxSettings
from evolcoder.sandbox.isolation import Limits
from evolcoder.settings import EvaluateSettings

PROGRAM_PACKAGES = ("numpy",)
"""What programs may import beside the standard library."""

NOT_ISOLATED = "The programs were not isolated (evaluate.sandbox=none): they could have changed their own verdicts."


def evaluate(
    settings: EvaluateSettings,
    benchmark: str,
    folder: Folder,
    endpoint: Endpoint,
    model_name: str,
    model_fingerprint: str,
    style: str,
    reporter: Reporter,
) -> Score:
    """Score the model behind an endpoint. Does nothing again when ``folder`` already holds this very score.

    Raises:
        EndpointError: the endpoint cannot be used; the answers so far are kept.
        IncompleteError: some question got no answer or some program could not be run; a rerun tries those alone.
        SandboxError, DataError, SettingsError, RunFolderError
    """
    chosen, prompt_style = benchmark_named(benchmark), style_named(style)
    identity = _identity(settings, chosen, prompt_style)
    if stage_state(folder, identity, {"model": model_fingerprint}).done:
        return _already_done(folder, reporter)
    everything = chosen.problems()
    questions = _questions(settings, subset(everything, settings.limit), prompt_style, endpoint.model, model_fingerprint)
    run = _Run(chosen, prompt_style, len(questions))
    with AnswerLog(folder) as log, reporter.progress(f"{benchmark} ({prompt_style.name})", len(questions)) as progress:
        if log.known:
            reporter.say(f"{sum(q.key in log.known for q in questions)} of {len(questions)} answers are there already")
        with ray_session():
            asyncio.run(_ask_and_judge(run, questions, log, endpoint, settings, progress))
        completions = [log.known[q.key] for q in questions if q.key in log.known]
    measurement = Measurement(
        benchmark=benchmark,
        benchmark_version=chosen.version,
        benchmark_tasks=len(everything),
        model=model_name,
        style=prompt_style.name,
        identity=identity,
        inputs={"model": model_fingerprint},
        circumstances=_circumstances(settings),
    )
    run.refuse_when_incomplete()
    return _finished(folder, measurement, completions, run.verdicts, pairing_warnings(prompt_style, completions), reporter)


def evaluate_samples(
    samples_file: Path, benchmark: str, extraction: str, folder: Folder, settings: EvaluateSettings, reporter: Reporter
) -> Score:
    """Score the programs of a JSONL file; see ``samples`` for its form. A file may cover some of the tasks only.

    Raises:
        DataError, SettingsError, SandboxError, RunFolderError
        IncompleteError: some program could not be run.
    """
    chosen, named = benchmark_named(benchmark), extraction_named(extraction)
    completions, jobs = read_samples(samples_file, chosen, named)
    digest = hashlib.sha256(samples_file.read_bytes()).hexdigest()
    identity: dict[str, Any] = {"benchmark": benchmark, "benchmark_version": chosen.version, "extraction": named}
    identity |= {"timeout_seconds": settings.timeout_seconds, "packages": list(PROGRAM_PACKAGES)}
    if stage_state(folder, identity, {"samples": digest}).done:
        return _already_done(folder, reporter)
    run = _Run(chosen, None, len(jobs))
    with reporter.progress(f"{benchmark} (samples)", len(jobs)) as progress, ray_session():
        asyncio.run(_judge_all(run, jobs, settings, progress))
    tasks = len(chosen.problems())
    measurement = Measurement(
        benchmark=benchmark,
        benchmark_version=chosen.version,
        benchmark_tasks=tasks,
        model=samples_file.name,
        style="samples",
        identity=identity,
        inputs={"samples": digest},
        circumstances=_circumstances(settings),
    )
    covered = len({job.problem.task_id for job in jobs})
    warnings = [] if covered == tasks else [f"{samples_file.name} covers {covered} of {tasks} tasks; the score is over those."]
    return _finished(folder, measurement, completions, run.verdicts, warnings, reporter)


def evaluation_done(settings: EvaluateSettings, benchmark: str, folder: Folder, model_fingerprint: str, style: str) -> bool:
    """Whether ``evaluate`` with these would find its work done."""
    identity = _identity(settings, benchmark_named(benchmark), style_named(style))
    return stage_state(folder, identity, {"model": model_fingerprint}).done


def subset(problems: Sequence[Problem], limit: int | None) -> list[Problem]:
    """``limit`` problems, evenly spaced over the benchmark, always the same ones; all of them when None."""
    if limit is None or limit >= len(problems):
        return list(problems)
    return [problems[index * len(problems) // limit] for index in range(limit)]


@dataclass(frozen=True, slots=True)
class _Question:
    problem: Problem
    sample: int
    prompt: str
    sampling: Sampling
    key: str


class _Run:
    """What has been found so far."""

    def __init__(self, benchmark: Benchmark, style: PromptStyle | None, total: int) -> None:
        self.benchmark, self.style, self.total = benchmark, style, total
        self.verdicts: list[Verdict] = []
        self.unanswered: list[RequestFailed] = []
        self._statuses: Counter[str] = Counter()

    def add(self, verdict: Verdict, progress: Progress) -> None:
        self.verdicts.append(verdict)
        self._statuses[verdict.status] += 1
        passed, not_run = self._statuses["passed"], self._statuses["infra_error"]
        figures = {"passed": passed, "failed": len(self.verdicts) - passed - not_run}
        progress.update(len(self.verdicts), **figures, **({"not_run": not_run} if not_run else {}))

    def job(self, question: _Question, completion: Completion) -> Job:
        assert self.style is not None
        code = extract(self.style.extraction, completion.answer, self.style.stops)
        program = None if code is None else self.benchmark.program(question.problem, code)
        return Job(self.benchmark.name, question.problem, question.sample, program)

    def refuse_when_incomplete(self) -> None:
        if self.unanswered:
            raise IncompleteError(
                f"{len(self.unanswered)} of {self.total} questions got no answer ({self.unanswered[0]}), so there is no score; "
                "the others are kept: run the same command again."
            )


async def _ask_and_judge(
    run: _Run,
    questions: Sequence[_Question],
    log: AnswerLog,
    endpoint: Endpoint,
    settings: EvaluateSettings,
    progress: Progress,
) -> None:
    from evolcoder.evaluate.execution import judges

    client = EndpointClient(endpoint, settings.max_concurrency)
    try:
        async with judges(_box_settings(settings), settings.workers) as judge:

            async def one(question: _Question) -> None:
                completion = log.known.get(question.key)
                if completion is None:
                    try:
                        completion = await _answer(client, run.style, question)
                    except RequestFailed as failure:
                        run.unanswered.append(failure)
                        return
                    log.add(question.key, completion)
                run.add(await judge(run.job(question, completion)), progress)

            # Twice as many in flight as questions may be asked at once, so that judging never keeps a question waiting.
            await _for_each(one, questions, 2 * settings.max_concurrency)
    finally:
        await client.close()


async def _answer(client: EndpointClient, style: PromptStyle | None, question: _Question) -> Completion:
    if style is not None and style.api == "chat":
        reply = await client.chat([{"role": "user", "content": question.prompt}], question.sampling)
    else:
        reply = await client.complete(question.prompt, question.sampling)
    return Completion(
        task_id=question.problem.task_id,
        sample=question.sample,
        prompt=question.prompt,
        answer=reply.text,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
    )


async def _judge_all(run: _Run, jobs: Sequence[Job], settings: EvaluateSettings, progress: Progress) -> None:
    from evolcoder.evaluate.execution import judges

    async with judges(_box_settings(settings), settings.workers) as judge:

        async def one(job: Job) -> None:
            run.add(await judge(job), progress)

        await _for_each(one, jobs, 2 * settings.max_concurrency)


async def _for_each(work: Callable[[Any], Awaitable[None]], items: Iterable[Any], at_once: int) -> None:
    """Do the work for every item, at most so many at once; the first exception ends all."""
    left = iter(items)

    async def worker() -> None:
        for item in left:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _questions(
    settings: EvaluateSettings, problems: Sequence[Problem], style: PromptStyle, model: str, model_fingerprint: str
) -> list[_Question]:
    """Every question of the run: all problems for the first sample, then for the second, ..."""
    questions = []
    for sample in range(settings.samples):
        sampling = _sampling(settings, style, sample)
        for problem in problems:
            prompt = prompt_text(style, problem.prompt)
            parts = (model_fingerprint, model, style.api, prompt, json.dumps(asdict(sampling), sort_keys=True), str(sample))
            questions.append(_Question(problem, sample, prompt, sampling, stable_hash(*parts)))
    return questions


def _sampling(settings: EvaluateSettings, style: PromptStyle, sample: int) -> Sampling:
    seed = None if settings.temperature == 0 else settings.seed + sample
    return Sampling(settings.temperature, settings.top_p, settings.max_tokens, style.stops, seed)


def _identity(settings: EvaluateSettings, benchmark: Benchmark, style: PromptStyle) -> dict[str, Any]:
    return {
        **settings.identity(),
        "benchmark": benchmark.name,
        "benchmark_version": benchmark.version,
        "style": style.name,
        "prompt": style.prompt_id,
        "stops": list(style.stops),
        "extraction": style.extraction,
        "packages": list(PROGRAM_PACKAGES),
    }


def _circumstances(settings: EvaluateSettings) -> dict[str, Any]:
    box = _box_settings(settings)
    return {
        "subset": "all" if settings.limit is None else f"{settings.limit} evenly spaced over the benchmark",
        "sandbox": box.level,
        "sandbox_limits": asdict(box.limits),
    }


def _box_settings(settings: EvaluateSettings) -> BoxSettings:
    seconds = settings.timeout_seconds
    limits = Limits(
        import_cpu_seconds=seconds / 2,
        call_cpu_seconds=seconds / 2,
        task_cpu_seconds=seconds,
        memory_bytes=settings.sandbox_memory_mib << 20,
    )
    return BoxSettings(settings.sandbox, limits, PROGRAM_PACKAGES)


def _finished(
    folder: Folder,
    measurement: Measurement,
    completions: Sequence[Completion],
    verdicts: Sequence[Verdict],
    warnings: list[str],
    reporter: Reporter,
) -> Score:
    if measurement.circumstances["sandbox"] == "none":
        warnings = [*warnings, NOT_ISOLATED]
    score = publish(folder, measurement, completions, verdicts, warnings)
    show(reporter, read_score(folder))
    return score


def _already_done(folder: Folder, reporter: Reporter) -> Score:
    data = read_score(folder)
    reporter.say("done before: no question is asked and no program is run again")
    show(reporter, data)
    return score_from_file(data)
