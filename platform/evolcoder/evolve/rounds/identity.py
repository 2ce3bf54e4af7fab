"""What a round is made from and how, as its manifest records it; and whether the rounds of a run are done. Knows no Ray."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from evolcoder.console import Reporter
from evolcoder.errors import DataError, EvolcoderError
from evolcoder.evolve.copies import dedup
from evolcoder.evolve.copies.decontamination import decontamination_identity
from evolcoder.evolve.rounds.shards import KEPT_PATTERN
from evolcoder.evolve.rules.elimination import JUDGE_FINGERPRINT
from evolcoder.evolve.rules.evolution import FORMAT, FORMAT_BEFORE
from evolcoder.evolve.rules.operators import operators_of, prompts_fingerprint
from evolcoder.evolve.seeds.load import PACKAGED, load_seeds
from evolcoder.evolve.seeds.rows import normalise
from evolcoder.problems.files import read_benchmark
from evolcoder.records import Instruction
from evolcoder.run.folder import RunFolder
from evolcoder.settings.evolve import EvolveSettings
from evolcoder.settings.run import RunSettings
from evolcoder.storage.arrow_files import read_rows
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Manifest, Stage, read_manifest
from evolcoder.text.thinking import KNOWN_MARKS, drop_thinking


def seeds_identity(settings: RunSettings, seeds: Sequence[Instruction]) -> dict[str, Any]:
    """Round 0: the seeds as they were read, wherever they lay."""
    digest = hashlib.sha256()
    for seed in sorted(seeds, key=lambda seed: seed.id):
        digest.update(repr((seed.id, seed.instruction, seed.input, seed.response)).encode("utf-8", "surrogatepass"))
    evolve = settings.evolve
    return {"seeds": digest.hexdigest()[:20], "rows_per_shard": evolve.rows_per_shard, **_copy_check_identity(evolve)}


def _copy_check_identity(evolve: EvolveSettings) -> dict[str, Any]:
    """What decides which rows fall as copies of a benchmark or of each other."""
    return {
        "decontaminate": decontamination_identity(evolve.decontaminate),
        "dedup": evolve.dedup.identity() | {"format": dedup.FORMAT},
    }


def round_identity(settings: RunSettings, with_format: bool = True) -> dict[str, Any]:
    """A later round. The number of rounds is no part of it: asking for one more keeps those that are there.

    Args:
        with_format: False for those who only look: rows of which format a round holds, only reading them would tell.
    """
    evolve = settings.evolve
    operators = operators_of(evolve.operators)
    own = evolve.model_dump(mode="json", include={"seed", "max_instruction_words", "rows_per_shard"})
    return {
        "evolve": own | {"operators": [operator.name for operator in operators]},
        "teacher": settings.teacher.identity(),
        "prompts": prompts_fingerprint(operators),
        "judge": JUDGE_FINGERPRINT if evolve.judge else None,
        **({"format": FORMAT} if with_format else {}),
        **_copy_check_identity(evolve),
    }


def round_stages(
    settings: RunSettings, run: RunFolder, seeds: Callable[[], Sequence[Instruction]] | None = None
) -> list[Stage]:
    """Rounds 0 to ``evolve.rounds``, each made from all earlier ones, for its pool may hold a row of any of them.

    Args:
        seeds: how to read the seeds, for those who have them already; they are read only for a question that needs them.
    """
    read = seeds or (lambda: load_seeds(settings.seeds, Reporter("plain", io.StringIO())))
    identity, told = (partial(find, run.round(0), settings, read) for find in (_seeds_as_recorded, _seeds_told))
    stages = [Stage("round 00", run.round(0), identity, told=told)]
    for number in range(1, settings.evolve.last_round + 1):
        folder, inputs = run.round(number), {stage.kind: stage for stage in stages}
        identity, told = partial(_as_recorded, folder, settings), partial(round_identity, settings, with_format=False)
        stages.append(Stage(f"round {number:02d}", folder, identity, inputs, ("openai",), told))
    return stages


def _seeds_told(folder: Folder, settings: RunSettings, read: Callable[[], Sequence[Instruction]]) -> dict[str, Any]:
    """What decides round 0, for those who only look: seeds that are not on this machine are not fetched for it."""
    here = settings.seeds.path == PACKAGED or Path(settings.seeds.path).expanduser().exists()
    if here:
        with suppress(EvolcoderError):
            return _seeds_as_recorded(folder, settings, read)
    return {"rows_per_shard": settings.evolve.rows_per_shard, **_copy_check_identity(settings.evolve)}


def _seeds_as_recorded(folder: Folder, settings: RunSettings, read: Callable[[], Sequence[Instruction]]) -> dict[str, Any]:
    """What decides round 0; of a round that holds these seeds as they were once stored, normalised, what decided that one.
    So it stays done, and nothing that was paid for is asked again for a space.
    """
    seeds = read()
    normalised = [
        replace(seed, instruction=normalise(seed.instruction), input=normalise(seed.input), response=normalise(seed.response))
        for seed in seeds
    ]
    before = seeds_identity(settings, normalised)
    manifest = read_manifest(folder)
    stays = manifest is not None and manifest.identity == before and not manifest.damage(folder)
    return before if stays else seeds_identity(settings, seeds)


def _as_recorded(folder: Folder, settings: RunSettings) -> dict[str, Any]:
    """What decides a round; with the format before where a whole round of that format is there and no row of it holds thinking.
    So it stays done, and with it what was trained on it.
    """
    identity = round_identity(settings)
    before = identity | {"format": FORMAT_BEFORE}
    manifest = read_manifest(folder)
    if manifest is None or manifest.identity != before or manifest.damage(folder):
        return identity
    rows = read_rows(folder, KEPT_PATTERN, ["instruction", "response"])
    thought = any(drop_thinking(text, KNOWN_MARKS)[1] for row in rows for text in (row["instruction"], row["response"]))
    return identity if thought else before


def finished_rounds(stages: Sequence[Stage]) -> list[Manifest]:
    """Manifests of the rounds that are done, from round 0 without a gap."""
    states = takewhile(lambda state: state.done, (stage.state() for stage in stages))
    return [state.manifest for state in states if state.manifest is not None]


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
