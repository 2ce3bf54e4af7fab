"""Round 0: the seed tasks that a run starts from, read from a file, a folder, the hub, or the packaged set.

Rows are mapped and drawn by ``rows``. One that cannot be used is reported by its place in its file and never dropped in
silence. Fetching is in ``sources``; near-duplicates and benchmark problems among the seeds are not looked for here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from evolcoder.console import Reporter
from evolcoder.errors import DataError
from evolcoder.evolve.seeds.files import HOW_TO_NAME_COLUMNS, SUFFIXES, RawRow, read_rows
from evolcoder.evolve.seeds.rows import NO_INSTRUCTION, Seed, UnusableRowError, draw, field_names, map_row, without_duplicates
from evolcoder.records import SEED_OPERATOR, Instruction
from evolcoder.settings.evolve import SeedSettings
from evolcoder.sources import HubDataset, SourceFile, find_source
from evolcoder.storage.folders import Folder

PACKAGED = "packaged"
BAD_ROWS_SHOWN = 5


def load_seeds(settings: SeedSettings, reporter: Reporter) -> list[Instruction]:
    """The seeds of a run as round 0, in an order that depends on ``settings.seed`` and the rows alone, not on files.

    Says how many rows were read, left out and drawn. A larger ``limit`` adds to the seeds that a smaller one drew.

    Raises:
        DataError: nothing is there, a file is malformed, or no row can be used.
    """
    usable: list[Seed] = []
    bad: list[tuple[str, str]] = []
    names: dict[str, None] = {}
    for raw in _read_source(settings, reporter):
        try:
            if raw.fault is not None:
                raise UnusableRowError(raw.fault)
            names |= dict.fromkeys(raw.value) if isinstance(raw.value, Mapping) else {}
            usable.append(map_row(raw.value, settings.columns))
        except UnusableRowError as error:
            bad.append((raw.place, str(error)))
    for what, column in settings.columns.model_dump(exclude_none=True).items():
        if names and column not in names:
            there = ", ".join(names)[:300]
            raise DataError(f"seeds.columns.{what} is {column!r}, which no row of {settings.path} has; they have: {there}.")
    for place, fault in bad[:BAD_ROWS_SHOWN]:
        reporter.warn(f"{place}: {fault}; the row is left out")
    if len(bad) > BAD_ROWS_SHOWN:
        reporter.warn(f"{len(bad) - BAD_ROWS_SHOWN:,} more such rows are left out, {len(bad):,} in all")
    if not usable:
        if not bad:
            raise DataError(f"seeds.path={settings.path} holds no rows; each row needs at least an instruction.")
        place, fault = bad[0]
        hint = f"; {HOW_TO_NAME_COLUMNS}" if NO_INSTRUCTION in fault else ""
        raise DataError(f"None of the {len(bad):,} rows of seeds.path={settings.path} can be used: {place} {fault}{hint}.")
    if replaced := sum(seed.replaced for seed in usable):
        reporter.warn(
            f"{replaced:,} characters of the seeds are half of a surrogate pair, which no file can hold: each is U+FFFD now"
        )
    if shortened := sum(seed.shortened for seed in usable):
        reporter.say(f"{shortened:,} conversations hold more than a question and its answer: the rest is left out")
    distinct = without_duplicates(usable)
    drawn = draw(distinct, settings.limit, settings.seed)
    reporter.say(_account(settings, len(usable) + len(bad), len(bad), len(usable) - len(distinct), len(drawn)))
    return [
        Instruction(
            id=seed.id,
            round=0,
            parent_id=None,
            root_id=seed.id,
            operator=SEED_OPERATOR,
            instruction=seed.instruction,
            input=seed.input,
            response=seed.response,
        )
        for seed in drawn
    ]


def _read_source(settings: SeedSettings, reporter: Reporter) -> Iterator[RawRow]:
    fields = [name for names in field_names(settings.columns).values() for name in names]
    named = list(settings.columns.model_dump(exclude_none=True).values())
    if settings.path == PACKAGED:
        here = Folder.open(Path(__file__).parent)
        return read_rows(SourceFile(here, "packaged_seeds.jsonl"), fields)
    found = find_source(settings.path, SUFFIXES)
    if isinstance(found, HubDataset):
        if found.revision is None:
            reporter.say(f"{found}: its newest revision; `{found}@REVISION` pins one")
        return (RawRow(f"{found} row {number}", row) for number, row in enumerate(found.rows(), start=1))
    return chain.from_iterable(read_rows(file, fields, named) for file in found)


def _account(settings: SeedSettings, read: int, bad: int, duplicates: int, drawn: int) -> str:
    """One line: where every row went."""
    text = f"seeds: {read:,} rows of {settings.path}"
    if bad:
        text += f", {bad:,} left out"
    if duplicates:
        text += f", {duplicates:,} duplicates removed"
    if settings.limit is None:
        return f"{text}: {drawn:,} used"
    if drawn < settings.limit:
        return f"{text}: all {drawn:,} used, fewer than seeds.limit={settings.limit:,}"
    return f"{text}: {drawn:,} drawn with seeds.seed={settings.seed}"
