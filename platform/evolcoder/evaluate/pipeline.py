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
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from evolcoder.cluster import ray_session
from evolcoder.console import Progress, Reporter
from evolcoder.endpoint.client import EndpointClient
from evolcoder.endpoint.requests import FOR_EVER, Endpoint, RequestFailed
from evolcoder.errors import DataError, IncompleteError
from evolcoder.evaluate.benchmarks import benchmark_named
from evolcoder.evaluate.benchmarks.base import Benchmark, Problem, PromptStyle
from evolcoder.evaluate.extraction import ExtractionId, extraction_named
from evolcoder.evaluate.judge import Job, Submission
from evolcoder.evaluate.measurement import (
    COMPLETIONS,
    PACKAGES,
    STAGE,
    Measurement,
    as_recorded,
    box_settings,
    circumstances,
    judging_identity,
)
from evolcoder.evaluate.prompts import answer_warnings, replacement_warnings, style_named
from evolcoder.evaluate.questions import Question, chosen_problems, left_out, questions
from evolcoder.evaluate.result import publish, read_score, show
from evolcoder.evaluate.row_log import RowLog
from evolcoder.evaluate.samples import read_samples
from evolcoder.evaluate.scoring import passes_by_task
from evolcoder.records import Completion, Score, Verdict
from evolcoder.settings.run import EvaluateSettings
from evolcoder.storage.arrow_files import read_rows
from evolcoder.storage.folders import Folder
from evolcoder.storage.hashes import fingerprint, stable_hash
from evolcoder.storage.stage import Stage
from evolcoder.text.encodable import encodable_text
from evolcoder.text.thinking import marks_with

if TYPE_CHECKING:
    from evolcoder.evaluate.execution import Judge

T = TypeVar("T")
_DONE_BEFORE = "done before: no question is asked and no program is run again"


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
        reporter.say(_DONE_BEFORE)
        return show(reporter, stage.folder)
    identity = stage.resolved_identity
    benchmark = benchmark_named(identity["benchmark"])
    style = style_named(benchmark, identity["style"])
    asked = questions(settings, chosen_problems(benchmark, settings), style, endpoint.model, stage.input_hashes()["model"])
    extraction = settings.extraction or style.extraction
    with RowLog(stage.folder, "answers", Completion) as answers, RowLog(stage.folder, "judged", Verdict) as judged:
        if answers.known:
            reporter.say(f"{sum(q.key in answers.known for q in asked)} of {len(asked)} answers are there already")
        with reporter.progress(f"{benchmark.name} ({style.name})", len(asked)) as progress, ray_session():
            judging = _Judging(settings, benchmark, extraction, style.stops, judged, progress)
            unanswered = asyncio.run(_ask_and_judge(endpoint, style, asked, answers, judging))
        completions = [answers.known[q.key] for q in asked if q.key in answers.known]
    if unanswered:
        for_ever = sorted({task for task, failure in unanswered if failure.kind in FOR_EVER})
        advice = f"leave out what is refused for ever by evaluate.leave_out=[{','.join(for_ever)}]" if for_ever else ""
        raise IncompleteError(
            f"{len(unanswered)} of {len(asked)} questions got no answer ({unanswered[0][1]}), so there is no score; "
            f"the others are kept: {advice or 'run the same command again'}."
        )
    replaced = replacement_warnings(judging.replaced_characters)
    warnings = [*answer_warnings(style, completions), *replaced, *_absence(left_out(benchmark, settings))]
    publish(Measurement(stage, settings, model_name, style.name, warnings), completions, judging.verdicts)
    return show(reporter, stage.folder)


def evaluate_samples(
    samples_file: Path, benchmark: str, extraction: str | None, folder: Folder, settings: EvaluateSettings, reporter: Reporter
) -> Score:
    """Score the programs of a JSONL file; see ``samples`` for its form. A file may cover some of the tasks only.

    Args:
        extraction: how code is taken from an ``answer``; None is ``chat``.

    Raises:
        DataError, SettingsError, SandboxError, RunFolderError
        IncompleteError: some program could not be run.
    """
    chosen, named = benchmark_named(benchmark), extraction_named(extraction or "chat")
    absent = left_out(chosen, settings)
    samples, replaced = read_samples(samples_file, chosen)
    completions = [completion for completion in samples if completion.task_id not in absent]
    if extraction is None and all(completion.kind != "answer" for completion in completions):
        named = "wizardcoder"  # nothing is extracted then, and this is the name that such scores always had
    identity = judging_identity(settings, chosen, named) | ({"leave_out": absent} if absent else {})
    identity = as_recorded(folder, identity)
    inputs = {"samples": hashlib.sha256(samples_file.read_bytes()).hexdigest()}
    stage = Stage(STAGE, folder, identity, inputs, PACKAGES)
    if stage.state().done:
        reporter.say(_DONE_BEFORE)
        return show(reporter, folder)
    verdicts, measurement = _judge_answers(stage, settings, samples_file.name, "samples", completions, reporter)
    measurement.warnings.extend(replacement_warnings(replaced))
    publish(measurement, completions, verdicts)
    return show(reporter, folder)


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
    replaced = {*circumstances(settings, chosen), "thinking_marks"}
    recorded = {name: value for name, value in before["settings"].items() if name not in replaced}
    identity = {**recorded, **judging_identity(settings, chosen, named)}
    stage = Stage(STAGE, folder, identity, before["inputs"], PACKAGES)
    completions = [Completion.from_row(row) for row in read_rows(folder, COMPLETIONS)]
    verdicts, measurement = _judge_answers(stage, settings, before["model"], before["style"], completions, reporter)
    passes_by_task(verdicts)  # raises while something could not be run: what stands there is left as it was
    publish(measurement, completions, verdicts)
    return show(reporter, folder)


def _judge_answers(
    stage: Stage, settings: EvaluateSettings, model: str, style: str, completions: Sequence[Completion], reporter: Reporter
) -> tuple[list[Verdict], Measurement]:
    """Judge answers that are all there."""
    identity = stage.resolved_identity
    benchmark = benchmark_named(identity["benchmark"])
    problems = {problem.task_id: problem for problem in benchmark.problems()}
    extraction = extraction_named(identity["extraction"])
    # Where no style is recorded, as for the samples of a file, the extraction "stops" cuts as the style "base" does.
    base_stops = next((known.stops for known in benchmark.styles if known.name == "base"), ())
    stops = tuple(identity.get("stops", base_stops))
    with (
        RowLog(stage.folder, "judged", Verdict) as judged,
        reporter.progress(f"{benchmark.name} ({style})", len(completions)) as progress,
        ray_session(),
    ):
        judging = _Judging(settings, benchmark, extraction, stops, judged, progress)

        async def job(completion: Completion) -> Job:
            return judging.job(problems[completion.task_id], completion)

        # The longest first, so that the last judge to end does not keep everyone waiting.
        longest = sorted(completions, key=lambda one: benchmark.reference_seconds(problems[one.task_id]), reverse=True)
        asyncio.run(judging.run(longest, job))
    absent = sorted(problems.keys() & {benchmark.task_id(name) for name in identity.get("leave_out") or ()})
    warnings = _absence(absent)
    covered = len({completion.task_id for completion in completions})
    if covered < len(problems) - len(absent) and identity.get("limit") is None:
        warnings.append(f"{model} covers {covered} of {len(problems)} tasks; the score is over those.")
    return judging.verdicts, Measurement(stage, settings, model, style, warnings)


def _absence(absent: Sequence[str]) -> list[str]:
    return [f"{', '.join(absent)} left out (evaluate.leave_out): the score is over the others."] if absent else []


async def _ask_and_judge(
    endpoint: Endpoint,
    style: PromptStyle,
    asked: Sequence[Question],
    answers: RowLog[Completion],
    judging: _Judging,
) -> list[tuple[str, RequestFailed]]:
    """Get the answers that are missing and have each judged; returns the tasks of questions that got none, and why."""
    client = EndpointClient(endpoint, judging.settings.max_concurrency)
    unanswered: list[tuple[str, RequestFailed]] = []

    async def job(question: Question) -> Job | None:
        completion = answers.known.get(question.key)
        if completion is None:
            try:
                if style.api == "chat":
                    reply = await client.chat([{"role": "user", "content": question.prompt}], question.sampling)
                else:
                    reply = await client.complete(question.prompt, question.sampling)
            except RequestFailed as failure:
                unanswered.append((question.problem.task_id, failure))
                return None
            completion = Completion(
                task_id=question.problem.task_id,
                sample=question.sample,
                prompt=question.prompt,
                answer=reply.text,
                finish_reason=reply.finish_reason,
                prompt_tokens=reply.prompt_tokens,
                completion_tokens=reply.completion_tokens,
            )
            answers.add(question.key, completion)
            judging.replaced_characters += reply.replaced_characters
        return judging.job(question.problem, completion)

    try:
        await judging.run(asked, job)
    finally:
        await client.close()
    return unanswered


class _Judging:
    """Gets verdicts. Those found before, on the same answers under the same rules, count again.

    ``replaced_characters`` are those of answers that no text can hold.
    """

    def __init__(
        self,
        settings: EvaluateSettings,
        benchmark: Benchmark,
        extraction: ExtractionId,
        stops: tuple[str, ...],
        log: RowLog[Verdict],
        progress: Progress,
    ) -> None:
        self.settings, self.benchmark = settings, benchmark
        self.verdicts: list[Verdict] = []
        self.replaced_characters = 0
        self._reading = extraction, stops, marks_with(settings.thinking_marks)
        self._rules = fingerprint(judging_identity(settings, benchmark, extraction))
        self._log, self._progress = log, progress
        self._statuses: Counter[str] = Counter()

    def job(self, problem: Problem, completion: Completion) -> Job:
        text, replaced = encodable_text(completion.answer)  # earlier versions kept answers as they came
        self.replaced_characters += replaced
        return Job(self.benchmark, problem, completion.sample, Submission(completion.kind, text, *self._reading))

    async def run(self, items: Sequence[T], job_of: Callable[[T], Awaitable[Job | None]]) -> None:
        """Judge what ``job_of`` makes of each item; the first exception ends all."""
        from evolcoder.evaluate.execution import judges

        self.benchmark.require(self.settings.sandbox)
        left = iter(items)

        async def work(judge: Judge) -> None:
            for item in left:  # all workers take from the same iterator
                job = await job_of(item)
                if job is not None:
                    await self._judge(judge, job)

        async with judges(box_settings(self.settings, self.benchmark), self.settings.workers) as judge:
            try:
                async with asyncio.TaskGroup() as group:
                    # Twice as many as questions may be asked at once, so that judging never keeps a question waiting.
                    for _ in range(2 * self.settings.max_concurrency):
                        group.create_task(work(judge))
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None

    async def _judge(self, judge: Judge, job: Job) -> None:
        given = job.submission
        text = (given.kind, given.text, given.extraction, json.dumps(given.stops))
        key = stable_hash(self._rules, job.problem.task_id, str(job.sample), *text)
        verdict = self._log.known.get(key)
        if verdict is None:
            verdict = await judge(job)
            if verdict.status != "infra_error":
                self._log.add(key, verdict)
        self.verdicts.append(verdict)
        self._statuses[verdict.status] += 1
        passed, not_run = self._statuses["passed"], self._statuses["infra_error"]
        figures = {"passed": passed, "failed": len(self.verdicts) - passed - not_run}
        self._progress.update(len(self.verdicts), **figures, **({"not_run": not_run} if not_run else {}))
