"""Evaluate a model, programs from a file, or answers that are there: ask, extract, run, score; nothing is done twice.

Asking and running overlap: an answer's program is judged while other answers are still on their way. Programs are judged by
Ray actors over the cluster (Ray starts only when there is something to run); questions are asked from here. Answers and
verdicts are kept as they come, so that a broken run goes on with what is missing.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from evolcoder.cluster import ray_session
from evolcoder.console import Progress, Reporter
from evolcoder.endpoint.client import EndpointClient
from evolcoder.endpoint.requests import Endpoint, RequestFailed
from evolcoder.errors import DataError, IncompleteError
from evolcoder.evaluate.benchmarks import benchmark_named
from evolcoder.evaluate.benchmarks.base import Benchmark, PromptStyle
from evolcoder.evaluate.extraction import extraction_named
from evolcoder.evaluate.judge import Job, Source
from evolcoder.evaluate.measurement import (
    PACKAGES,
    STAGE,
    Measurement,
    box_settings,
    circumstances,
    extraction_of,
    judging_identity,
)
from evolcoder.evaluate.prompts import pairing_warnings, style_named
from evolcoder.evaluate.questions import Question, left_out, questions, subset
from evolcoder.evaluate.result import publish, read_completions, read_score, score_from_file, show
from evolcoder.evaluate.row_log import RowLog
from evolcoder.evaluate.samples import read_samples
from evolcoder.evaluate.scoring import passes_by_task
from evolcoder.records import Completion, Score, Verdict
from evolcoder.settings import EvaluateSettings
from evolcoder.storage.folders import Folder
from evolcoder.storage.hashes import fingerprint, stable_hash
from evolcoder.storage.stage import Stage

if TYPE_CHECKING:
    from evolcoder.evaluate.execution import Judge

T = TypeVar("T")


def evaluate(stage: Stage, settings: EvaluateSettings, endpoint: Endpoint, model_name: str, reporter: Reporter) -> Score:
    """Score the model behind an endpoint. Does nothing again when the stage's folder already holds this very score.

    Args:
        stage: as ``measurement.model_stage`` makes it.

    Raises:
        EndpointError: the endpoint cannot be used; the answers so far are kept.
        IncompleteError: some question got no answer or some program could not be run; a rerun tries those alone.
        SandboxError, DataError, SettingsError, RunFolderError
    """
    stage = stage.pinned()
    if stage.state().done:
        return _already_done(stage.folder, reporter)
    identity = stage.resolved_identity
    benchmark = benchmark_named(identity["benchmark"])
    style = style_named(benchmark, identity["style"])
    everything, absent = benchmark.problems(), left_out(benchmark, settings)
    problems = subset([problem for problem in everything if problem.task_id not in absent], settings.limit)
    asked = questions(settings, problems, style, endpoint.model, stage.input_hashes()["model"])
    with RowLog(stage.folder, "answers", Completion) as answers:
        if answers.known:
            reporter.say(f"{sum(q.key in answers.known for q in asked)} of {len(asked)} answers are there already")
        extraction = extraction_of(settings, style)
        asking = _Asking(endpoint, settings.max_concurrency, benchmark, style, extraction, answers)
        with (
            _Judging(settings, benchmark, stage.folder, judging_identity(settings, benchmark, extraction)) as judging,
            reporter.progress(f"{benchmark.name} ({style.name})", len(asked)) as progress,
            ray_session(),
        ):
            asyncio.run(_ask_and_judge(asking, judging, asked, progress))
        completions = [answers.known[q.key] for q in asked if q.key in answers.known]
    asking.refuse_when_incomplete(len(asked))
    warnings = [*pairing_warnings(style, completions), *_absence(absent)]
    measurement = Measurement(
        stage, benchmark, len(everything), model_name, style.name, circumstances(settings, benchmark), warnings
    )
    return _finished(measurement, completions, judging.verdicts, reporter)


def evaluate_samples(
    samples_file: Path, benchmark: str, extraction: str, folder: Folder, settings: EvaluateSettings, reporter: Reporter
) -> Score:
    """Score the programs of a JSONL file; see ``samples`` for its form. A file may cover some of the tasks only.

    Raises:
        DataError, SettingsError, SandboxError, RunFolderError
        IncompleteError: some program could not be run.
    """
    chosen, named = benchmark_named(benchmark), extraction_named(extraction)
    absent = left_out(chosen, settings)
    completions = [completion for completion in read_samples(samples_file, chosen) if completion.task_id not in absent]
    identity = judging_identity(settings, chosen, named) | ({"leave_out": absent} if absent else {})
    inputs = {"samples": hashlib.sha256(samples_file.read_bytes()).hexdigest()}
    stage = Stage(STAGE, folder, identity, inputs, PACKAGES)
    if stage.state().done:
        return _already_done(folder, reporter)
    judging, measurement = _judge_answers(stage, settings, samples_file.name, "samples", completions, reporter)
    return _finished(measurement, completions, judging.verdicts, reporter)


def rescore(settings: EvaluateSettings, folder: Folder, extraction: str | None, reporter: Reporter) -> Score:
    """Judge the stored answers of a finished evaluation again, asking no model; the score there is replaced.

    Args:
        extraction: another one than the score was made with; None keeps it.

    Raises:
        DataError: the folder holds no evaluation.
    """
    if not folder.exists("score.json"):
        raise DataError(f"{folder} holds no score.json; `evolcoder evaluate` writes one, and --rescore recomputes it.")
    before = read_score(folder)
    chosen = benchmark_named(before["benchmark"])
    named = extraction_named(extraction or before["settings"]["extraction"])
    recorded = {name: value for name, value in before["settings"].items() if name not in circumstances(settings, chosen)}
    identity = {**recorded, **judging_identity(settings, chosen, named)}
    stage = Stage(STAGE, folder, identity, before["inputs"], PACKAGES)
    completions = read_completions(folder)
    judging, measurement = _judge_answers(stage, settings, before["model"], before["style"], completions, reporter)
    passes_by_task(judging.verdicts)  # raises while something could not be run: what stands there is left as it was
    return _finished(measurement, completions, judging.verdicts, reporter)


def _judge_answers(
    stage: Stage, settings: EvaluateSettings, model: str, style: str, completions: Sequence[Completion], reporter: Reporter
) -> tuple[_Judging, Measurement]:
    """Judge answers that are all there."""
    identity = stage.resolved_identity
    benchmark = benchmark_named(identity["benchmark"])
    problems = {problem.task_id: problem for problem in benchmark.problems()}
    extraction = extraction_named(identity["extraction"])
    stops = tuple(identity.get("stops", benchmark.stops))

    async def job(completion: Completion) -> Job:
        source = Source(completion.kind, completion.answer, extraction, stops)
        return Job(benchmark, problems[completion.task_id], completion.sample, source)

    with (
        _Judging(settings, benchmark, stage.folder, judging_identity(settings, benchmark, extraction)) as judging,
        reporter.progress(f"{benchmark.name} ({style})", len(completions)) as progress,
        ray_session(),
    ):
        # The longest first, so that the last judge to end does not keep everyone waiting.
        longest = sorted(completions, key=lambda one: benchmark.reference_seconds(problems[one.task_id]), reverse=True)
        asyncio.run(judging.run(longest, job, progress))
    absent = identity.get("leave_out") or []
    warnings = _absence(absent)
    covered = len({completion.task_id for completion in completions})
    if covered < len(problems) - len(absent) and identity.get("limit") is None:
        warnings.append(f"{model} covers {covered} of {len(problems)} tasks; the score is over those.")
    return judging, Measurement(stage, benchmark, len(problems), model, style, circumstances(settings, benchmark), warnings)


def _absence(absent: Sequence[str]) -> list[str]:
    return [f"{', '.join(absent)} left out (evaluate.leave_out): the score is over the others."] if absent else []


class _Asking:
    """Gets the answers that are missing, and makes each a job."""

    def __init__(
        self, endpoint: Endpoint, concurrency: int, benchmark: Benchmark, style: PromptStyle, extraction: str,
        answers: RowLog[Completion],
    ) -> None:  # fmt: skip
        self._endpoint, self._concurrency = endpoint, concurrency
        self._benchmark, self._style, self._answers = benchmark, style, answers
        self._extraction = extraction_named(extraction)
        self._client: EndpointClient | None = None
        self._unanswered: list[RequestFailed] = []

    async def __aenter__(self) -> _Asking:
        self._client = EndpointClient(self._endpoint, self._concurrency)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._client is not None
        await self._client.close()

    async def job(self, question: Question) -> Job | None:
        """None when the question got no answer."""
        completion = self._answers.known.get(question.key)
        if completion is None:
            try:
                completion = await self._ask(question)
            except RequestFailed as failure:
                self._unanswered.append(failure)
                return None
            self._answers.add(question.key, completion)
        source = Source("answer", completion.answer, self._extraction, self._style.stops)
        return Job(self._benchmark, question.problem, question.sample, source)

    async def _ask(self, question: Question) -> Completion:
        assert self._client is not None
        if self._style.api == "chat":
            reply = await self._client.chat([{"role": "user", "content": question.prompt}], question.sampling)
        else:
            reply = await self._client.complete(question.prompt, question.sampling)
        return Completion(
            task_id=question.problem.task_id,
            sample=question.sample,
            prompt=question.prompt,
            answer=reply.text,
            finish_reason=reply.finish_reason,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
        )

    def refuse_when_incomplete(self, total: int) -> None:
        """Raise IncompleteError when some question got no answer."""
        if self._unanswered:
            raise IncompleteError(
                f"{len(self._unanswered)} of {total} questions got no answer ({self._unanswered[0]}), so there is no score; "
                "the others are kept: run the same command again."
            )


class _Judging:
    """Gets the verdicts that are missing. Those found before, on the same answers under the same rules, count again."""

    def __init__(self, settings: EvaluateSettings, benchmark: Benchmark, folder: Folder, rules: Mapping[str, Any]) -> None:
        self.verdicts: list[Verdict] = []
        self._settings, self._benchmark = settings, benchmark
        self._rules = fingerprint(rules)
        self._log: RowLog[Verdict] = RowLog(folder, "judged", Verdict)
        self._statuses: Counter[str] = Counter()

    def __enter__(self) -> _Judging:
        self._log.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._log.__exit__(kind, error, trace)

    async def run(self, items: Sequence[T], job_of: Callable[[T], Awaitable[Job | None]], progress: Progress) -> None:
        """Judge what ``job_of`` makes of each item."""
        from evolcoder.evaluate.execution import judges

        self._benchmark.require(self._settings.sandbox)
        async with judges(box_settings(self._settings, self._benchmark), self._settings.workers) as judge:

            async def one(item: T) -> None:
                job = await job_of(item)
                if job is not None:
                    self._add(await self._verdict(judge, job), progress)

            # Twice as many in flight as questions may be asked at once, so that judging never keeps a question waiting.
            await _for_each(one, items, 2 * self._settings.max_concurrency)

    async def _verdict(self, judge: Judge, job: Job) -> Verdict:
        source = job.source
        text = (source.kind, source.text, source.extraction, json.dumps(source.stops))
        key = stable_hash(self._rules, job.problem.task_id, str(job.sample), *text)
        if key not in self._log.known:
            verdict: Verdict = await judge(job)
            if verdict.status != "infra_error":
                self._log.add(key, verdict)
            return verdict
        return self._log.known[key]

    def _add(self, verdict: Verdict, progress: Progress) -> None:
        self.verdicts.append(verdict)
        self._statuses[verdict.status] += 1
        passed, not_run = self._statuses["passed"], self._statuses["infra_error"]
        figures = {"passed": passed, "failed": len(self.verdicts) - passed - not_run}
        progress.update(len(self.verdicts), **figures, **({"not_run": not_run} if not_run else {}))


async def _ask_and_judge(asking: _Asking, judging: _Judging, asked: Sequence[Question], progress: Progress) -> None:
    async with asking:
        await judging.run(asked, asking.job, progress)


async def _for_each(work: Callable[[T], Awaitable[None]], items: Iterable[T], at_once: int) -> None:
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


def _finished(
    measurement: Measurement, completions: Sequence[Completion], verdicts: Sequence[Verdict], reporter: Reporter
) -> Score:
    score = publish(measurement, completions, verdicts)
    show(reporter, read_score(measurement.stage.folder))
    return score


def _already_done(folder: Folder, reporter: Reporter) -> Score:
    data = read_score(folder)
    reporter.say("done before: no question is asked and no program is run again")
    show(reporter, data)
    return score_from_file(data)
