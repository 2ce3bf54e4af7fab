"""What a run would do and cost, before anything is sent: calls, tokens, dollars, training memory. Pure.

Lengths come from the run's own finished rounds when there are any, else from what Code Alpaca's evolved rows are like;
the range says how far off either may be. How long training takes depends on hardware: it is said at a pace that the settings
state, or that a training of this run had.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from evolcoder.run.variants import Variant, own_variant
from evolcoder.settings.evolve import EndpointSettings, TeacherSettings
from evolcoder.settings.run import RunSettings, TrainSettings
from evolcoder.settings.section import EMBEDDED
from evolcoder.storage.stage import Manifest
from evolcoder.train.deepspeed import Precision
from evolcoder.train.memory import PROCESS_BYTES, USABLE_SHARE, fitting, forecast_memory, on_cpu
from evolcoder.train.schedule import total_steps
from evolcoder.train.shape import ModelShape

CALLS_PER_ROW = 2
TYPICAL_VERDICT_TOKENS = (350, 4)
"""Prompt and completion of the judge's call, where it is on."""
TYPICAL_PROMPT_TOKENS = 400
"""Of both calls of a row together: the operator's prompt with the parent, then the evolved instruction."""
TYPICAL_COMPLETION_TOKENS = 550
"""Of both calls together: an evolved instruction of about 150 tokens, and a response of about 400."""
TYPICAL_ROW_TOKENS = 600
"""Of a training row: the prompt's frame, an evolved instruction and its response."""
UNKNOWN_GPU_BYTES = 80 * 2**30
BATCH_HOURS = 24
"""Within this time OpenAI's Batch API answers a batch."""
_RANGE = (0.6, 1.6)
"""Of what is likely: how far the means of other teachers and seeds may lie from it."""

Rows = list[list[object]]


@dataclass(frozen=True, slots=True)
class TrainingPace:
    """What a training's own steps took."""

    tokens_a_row: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class EvolveForecast:
    """What the evolve stage will ask for; tokens are (low, likely, high)."""

    seeds: int
    rounds_to_do: int
    calls: int
    prompt_tokens: tuple[int, int, int]
    completion_tokens: tuple[int, int, int]
    usd: tuple[float, float, float] | None
    hours: float | None
    batches: int | None
    measured: bool


def forecast_evolve(settings: RunSettings, seeds: int, finished: Sequence[Manifest] = ()) -> EvolveForecast:
    """Calls, tokens, dollars and hours of the rounds that are not there yet.

    Args:
        finished: the manifests of the rounds that are, round 0 first.
    """
    done = max(0, len(finished) - 1)
    prompt_mean, completion_mean, measured = _lengths(finished[1:])
    calls_per_row = CALLS_PER_ROW + settings.evolve.judge
    if settings.evolve.judge and not measured:
        prompt_mean, completion_mean = prompt_mean + TYPICAL_VERDICT_TOKENS[0], completion_mean + TYPICAL_VERDICT_TOKENS[1]
    limit = calls_per_row * settings.teacher.max_tokens
    rounds = settings.evolve.last_round - done
    rows = seeds * rounds
    prompt = _spread(rows * prompt_mean)
    completion = _spread(rows * min(completion_mean, limit), rows * limit)
    calls = rows * calls_per_row
    return EvolveForecast(
        seeds=seeds,
        rounds_to_do=rounds,
        calls=calls,
        prompt_tokens=prompt,
        completion_tokens=completion,
        usd=_dollars(settings.teacher, prompt, completion),
        hours=None if settings.teacher.batch else _hours(settings.teacher, calls, prompt[1] + completion[1]),
        # Each call of a row waits for the one before it, and a batch holds what may be in flight at once.
        batches=calls // max(seeds, 1) * math.ceil(seeds / settings.teacher.max_concurrency)
        if settings.teacher.batch
        else None,
        measured=measured,
    )


def evolve_table(settings: RunSettings, forecast: EvolveForecast) -> tuple[str, list[str], Rows]:
    """The forecast as a table: (title, columns, rows)."""
    source = "lengths measured in this run" if forecast.measured else "typical lengths, not yet measured"
    title = f"Evolve: {forecast.seeds} seeds, {forecast.rounds_to_do} rounds to do ({source})"
    rows: Rows = [
        ["calls", None, forecast.calls, None],
        ["prompt tokens", *forecast.prompt_tokens],
        ["completion tokens", *forecast.completion_tokens],
    ]
    if forecast.usd is not None:
        rows.append(["dollars", *forecast.usd])
    if settings.teacher.budget_usd is not None:
        rows.append(["budget in dollars, a wall", None, None, settings.teacher.budget_usd])
    if forecast.hours is not None:
        rows.append(["hours at the rate limits", None, forecast.hours, None])
    if forecast.batches is not None:
        rows.append(["batches, one after the other", None, forecast.batches, None])
        rows.append(["hours, when each takes its whole day", None, None, forecast.batches * BATCH_HOURS])
    return title, ["", "low", "likely", "high"], rows


def training_table(
    settings: RunSettings, forecast: EvolveForecast, measured: TrainingPace | None = None
) -> tuple[str, list[str], Rows]:
    """Steps, and the time and money that they take at a pace that is stated, or was measured.

    Args:
        measured: of a training of this run; what ``train.tokens_per_second`` states comes before it.
    """
    train = settings.train
    rows_by_now = forecast.seeds * len(own_variant(settings).rounds)
    steps = total_steps(train, rows_by_now)
    tokens_a_row = measured.tokens_a_row if measured else min(TYPICAL_ROW_TOKENS, train.sequence_length)
    tokens = steps * train.global_batch_size * tokens_a_row
    rows: Rows = [
        ["base model", train.base_model],
        ["rows, at most", rows_by_now],
        ["steps", steps],
        ["rows a step", train.global_batch_size],
        ["passes over the data", round(steps * train.global_batch_size / max(rows_by_now, 1), 1)],
        ["workers", train.workers],
        [f"tokens, {'as measured' if measured else 'of typical rows'}", round(tokens)],
    ]
    pace = train.tokens_per_second or (measured.tokens_per_second if measured else None)
    if pace is None:
        rows.append(["hours", "not known: set train.tokens_per_second, of all workers together, or train once"])
        return "Train", ["", "value"], rows
    hours = tokens / pace / 3600
    rows.append([f"hours at {pace:,.0f} tokens a second", float(f"{hours:.2g}")])
    if train.usd_per_gpu_hour is not None:
        rows.append([f"dollars of {train.workers} GPUs", round(hours * train.workers * train.usd_per_gpu_hour, 2)])
    return "Train", ["", "value"], rows


def memory_table(train: TrainSettings, shape: ModelShape | None) -> tuple[str, list[str], Rows]:
    """GiB that a worker holds at its peak, by part and ZeRO stage, on a GPU and on a CPU. Whether it fits a GPU, where
    ``train.gpu_memory_gib`` says how large that is.
    """
    columns = ["", "weights", "gradients", "optimizer", "activations", "logits", "GiB in all", "micro-batch"]
    if shape is None:
        return "Memory of a worker: not known, for the base model is not on this machine, or of an unknown kind", columns, []
    precision: Precision = "bf16" if train.precision == "auto" else train.precision
    size = None if train.gpu_memory_gib is None else int(train.gpu_memory_gib * 2**30)
    rows: Rows = []
    for where, stage in [*(("GPU", stage) for stage in range(4)), ("CPU", train.zero_stage)]:
        gpu = where == "GPU"
        if (train.offload == "all" and stage < 3) or (train.offload and not stage) or (where == "CPU" and precision == "fp16"):
            continue  # which is refused
        staged = train.model_copy(update={"zero_stage": stage})
        rows_each, recompute = fitting(staged, shape, precision, size or UNKNOWN_GPU_BYTES) if gpu else on_cpu(staged, shape)
        found = forecast_memory(staged, shape, precision, gpu, rows_each * train.sequence_length, recompute)
        total = found.total + (0 if gpu else PROCESS_BYTES)
        parts = [found.weights, found.gradients, found.optimizer, found.activations, found.logits, total]
        label = f"{where}, ZeRO {stage}" + (" (chosen)" if stage == train.zero_stage and gpu else "")
        if gpu and size is not None:
            label += ", fits" if total <= USABLE_SHARE * size else ", does not fit"
        kept = f"{rows_each} x {train.sequence_length} tokens{', activations computed again' if recompute else ''}"
        rows.append([label, *(round(part / 2**30, 1) for part in parts), kept])
    return f"Memory of a worker of {train.workers}, {shape.parameters:,} parameters", columns, rows


def study_table(
    settings: RunSettings,
    variants: Sequence[Variant],
    forecast: EvolveForecast,
    done: Collection[str],
    rows_by_round: Mapping[str, int],
) -> tuple[str, list[str], Rows]:
    """What a study trains, the run's own model among it.

    Args:
        done: the names of the models that are trained.
        rows_by_round: of the training set; empty when it is not there, and each round then has as many rows as there are seeds.
    """
    rows: Rows = []
    for variant in variants:
        counted = [rows_by_round.get(str(number), forecast.seeds) for number in variant.rounds]
        steps = total_steps(settings.train, sum(counted))
        state = "done" if variant.name in done else "to do"
        rows.append([variant.name, variant.label, variant.seed, sum(counted), steps, state])
    to_do = [row for row in rows if row[-1] != "done"]
    steps = sum(int(str(row[4])) for row in to_do)
    title = f"Study: {len(variants)} models, {len(to_do)} to train in {steps:,} steps"
    return title, ["model", "trained on", "seed", "rows, at most", "steps", "state"], rows


def scores_table(
    wanted: Sequence[tuple[str, str]], done: Collection[tuple[str, str]], questions: Mapping[str, int | None]
) -> tuple[str, list[str], Rows]:
    """What is scored, by benchmark.

    Args:
        wanted: model and benchmark of each score that the settings ask for; ``done`` those that are there.
        questions: how many each score on a benchmark asks; None where the benchmark's data is not on this machine.
    """
    rows: Rows = []
    to_ask = 0
    for name, asked in questions.items():
        scores = [one for one in wanted if one[1] == name]
        left = sum(one not in done for one in scores)
        rows.append([name, asked, len(scores), len(scores) - left, None if asked is None else left * asked])
        to_ask += left * (asked or 0)
    title = f"Evaluate: {len(wanted)} scores of {len({model for model, _ in wanted})} models, {to_ask:,} questions to ask"
    if None in questions.values():
        title += " and those of benchmarks whose data is not here (`evolcoder data list`)"
    return title, ["benchmark", "questions a score", "scores", "done", "questions to ask"], rows


def _lengths(rounds: Sequence[Manifest]) -> tuple[float, float, bool]:
    """Mean prompt and completion tokens of a row, and whether they were measured here."""
    counted = [manifest for manifest in rounds if "prompt_tokens" in manifest.summary]
    rows = sum(manifest.rows for manifest in counted)
    if not rows:
        return TYPICAL_PROMPT_TOKENS, TYPICAL_COMPLETION_TOKENS, False
    prompt, completion = (sum(one.summary[name] for one in counted) for name in ("prompt_tokens", "completion_tokens"))
    return prompt / rows, completion / rows, True


def _spread(likely: float, ceiling: float = math.inf) -> tuple[int, int, int]:
    low, high = (round(min(likely * factor, ceiling)) for factor in _RANGE)
    return low, round(likely), high


def _dollars(
    teacher: TeacherSettings, prompt: tuple[int, int, int], completion: tuple[int, int, int]
) -> tuple[float, float, float] | None:
    if teacher.base_url == EMBEDDED and not teacher.endpoints:
        return 0.0, 0.0, 0.0
    input_price, output_price = teacher.usd_per_million_input_tokens, teacher.usd_per_million_output_tokens
    if input_price is None or output_price is None:
        return None
    low, likely, high = ((p * input_price + c * output_price) / 1e6 for p, c in zip(prompt, completion, strict=True))
    return low, likely, high


def _hours(teacher: TeacherSettings, calls: int, tokens: int) -> float | None:
    """The time that the limits of all endpoints together leave; None when one of them has no limit that is known."""
    endpoints = teacher.endpoints or (EndpointSettings(),)
    request_rates = [one.requests_per_minute or teacher.requests_per_minute for one in endpoints]
    token_rates = [one.tokens_per_minute or teacher.tokens_per_minute for one in endpoints]
    limits = [(calls, request_rates), (tokens, token_rates)]
    minutes = [amount / sum(filter(None, per_minute)) for amount, per_minute in limits if None not in per_minute]
    return max(minutes) / 60 if minutes else None
