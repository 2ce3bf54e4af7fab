"""Which questions an evaluation asks, and in what order. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from evolcoder.endpoint.requests import SamplingSettings
from evolcoder.errors import SettingsError
from evolcoder.evaluate.benchmarks.base import Benchmark, Problem, PromptStyle
from evolcoder.settings.run import EvaluateSettings
from evolcoder.storage.hashes import stable_hash


@dataclass(frozen=True, slots=True)
class Question:
    """One problem put to the model once. ``key`` is the hash of all that the answer depends on: it finds kept answers again."""

    problem: Problem
    sample: int
    prompt: str
    sampling: SamplingSettings
    key: str


def questions(
    settings: EvaluateSettings, problems: Sequence[Problem], style: PromptStyle, model: str, model_fingerprint: str
) -> list[Question]:
    """Every question of a run: all problems for the first sample, then for the second, ..."""
    found = []
    for sample in range(settings.samples):
        # Greedy answers need no seed; sampled ones get one of their own, so that they differ and can be had again.
        seed = None if settings.temperature == 0 else settings.seed + sample
        sampling = SamplingSettings(settings.temperature, settings.top_p, settings.max_tokens, style.stops, seed)
        # What is not sent is no part of the key: answers that were kept before there was such a field are found again.
        sent = {name: value for name, value in asdict(sampling).items() if name != "extra_body" or value}
        decoding = json.dumps(sent, sort_keys=True)
        for problem in problems:
            prompt = style.render(problem)
            key = stable_hash(model_fingerprint, model, style.api, problem.task_id, prompt, decoding, str(sample))
            found.append(Question(problem, sample, prompt, sampling, key))
    return found


def left_out(benchmark: Benchmark, settings: EvaluateSettings) -> list[str]:
    """The task ids of this benchmark that the user leaves out."""
    problems = {problem.task_id for problem in benchmark.problems()} if settings.leave_out else set()
    return sorted(problems & {benchmark.task_id(name) for name in settings.leave_out})


def check_left_out(benchmarks: Sequence[Benchmark], settings: EvaluateSettings) -> None:
    """
    Raises:
        SettingsError: a name is a task of none of the benchmarks.
    """
    if not settings.leave_out:
        return
    known = [(benchmark, {problem.task_id for problem in benchmark.problems()}) for benchmark in benchmarks]
    for name in settings.leave_out:
        if not any(benchmark.task_id(name) in tasks for benchmark, tasks in known):
            names = ", ".join(benchmark.name for benchmark in benchmarks)
            raise SettingsError(f"evaluate.leave_out names {name}, which is no task of {names}.")


def chosen_problems(benchmark: Benchmark, settings: EvaluateSettings) -> list[Problem]:
    """The problems that are put to a model: all but those that the user leaves out, or as many of them as the limit says,
    evenly spaced over the benchmark and always the same ones.
    """
    absent = left_out(benchmark, settings)
    problems = [problem for problem in benchmark.problems() if problem.task_id not in absent]
    if settings.limit is None or settings.limit >= len(problems):
        return problems
    return [problems[index * len(problems) // settings.limit] for index in range(settings.limit)]
