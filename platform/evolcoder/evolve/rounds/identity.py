"""What a round is made from and how, as its manifest records it; and whether the rounds of a run are done. Knows no Ray."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

from evolcoder.console import Reporter
from evolcoder.errors import DataError
from evolcoder.evolve.copies import dedup
from evolcoder.evolve.copies.decontamination import decontamination_identity
from evolcoder.evolve.rules.evolution import FORMAT, RoundPlan
from evolcoder.evolve.rules.novelty import judge_fingerprint
from evolcoder.evolve.rules.operators import operators_of, prompts_fingerprint
from evolcoder.evolve.seeds.load import load_seeds
from evolcoder.problems.files import read_benchmark
from evolcoder.records import Instruction
from evolcoder.runs import RunFolder
from evolcoder.settings import EvolveSettings, RunSettings
from evolcoder.storage.stage import Manifest, stage_state


def round_name(number: int) -> str:
    return f"round {number:02d}"


def seeds_identity(settings: RunSettings, seeds: Sequence[Instruction]) -> dict[str, Any]:
    """Round 0: the seeds as they were read, wherever they lay."""
    digest = hashlib.sha256()
    for seed in sorted(seeds, key=lambda seed: seed.id):
        digest.update(repr((seed.id, seed.instruction, seed.input, seed.response)).encode("utf-8", "surrogatepass"))
    evolve = settings.evolve
    return {"seeds": digest.hexdigest()[:20], "rows_per_shard": evolve.rows_per_shard, **_sieve_identity(evolve)}


def _sieve_identity(evolve: EvolveSettings) -> dict[str, Any]:
    """What decides which rows fall as copies of a benchmark or of each other."""
    return {
        "decontaminate": decontamination_identity(evolve.decontaminate),
        "dedup": evolve.dedup.identity() | {"format": dedup.FORMAT},
    }


def round_identity(settings: RunSettings) -> dict[str, Any]:
    """A later round. The number of rounds is no part of it: asking for one more keeps those that are there."""
    evolve = settings.evolve
    operators = operators_of(evolve.operators)
    own = evolve.model_dump(mode="json", include={"seed", "max_instruction_words", "rows_per_shard"})
    return {
        "evolve": own | {"operators": [operator.name for operator in operators]},
        "teacher": settings.teacher.identity(),
        "prompts": prompts_fingerprint(operators),
        "judge": judge_fingerprint() if evolve.judge else None,
        "format": FORMAT,
        **_sieve_identity(evolve),
    }


def round_inputs(before: Sequence[Manifest]) -> dict[str, str]:
    """The content of every earlier round, for the pool may hold a row of any of them."""
    return {round_name(number): manifest.content_hash for number, manifest in enumerate(before)}


def round_plan(settings: RunSettings, number: int, teacher: str) -> RoundPlan:
    return RoundPlan(
        round=number,
        seed=settings.evolve.seed,
        operators=operators_of(settings.evolve.operators),
        max_instruction_words=settings.evolve.max_instruction_words,
        teacher=teacher,
        temperature=settings.teacher.temperature,
        top_p=settings.teacher.top_p,
        max_tokens=settings.teacher.max_tokens,
        judge=settings.evolve.judge,
    )


def finished_rounds(settings: RunSettings, run: RunFolder, seeds_made_from: Mapping[str, Any]) -> list[Manifest]:
    """Manifests of the rounds that are done, from round 0 without a gap, as far as the settings ask."""
    manifests: list[Manifest] = []
    for number in range(settings.evolve.rounds + 1):
        identity = round_identity(settings) if number else seeds_made_from
        state = stage_state(run.round(number), identity, round_inputs(manifests))
        if not state.done or state.manifest is None:
            break
        manifests.append(state.manifest)
    return manifests


def rounds_done(settings: RunSettings, run: RunFolder) -> bool:
    """Whether every round that the settings ask for is there, made from the seeds as they are now.

    Raises:
        DataError: the seeds cannot be read, or there are rounds to make and a benchmark to compare them with is missing.
    """
    seeds = load_seeds(settings.seeds, Reporter("plain", io.StringIO()))
    if len(finished_rounds(settings, run, seeds_identity(settings, seeds))) > settings.evolve.rounds:
        return True
    check_benchmarks(settings.evolve)
    return False


def check_benchmarks(evolve: EvolveSettings) -> None:
    """
    Raises:
        DataError: the data of a benchmark that rows are to be compared with is not there.
    """
    for name in evolve.decontaminate:
        try:
            read_benchmark(name)
        except DataError as error:
            sentence = error.message.rstrip(".")
            raise DataError(f"{sentence}; or leave {name} out of evolve.decontaminate.") from None
