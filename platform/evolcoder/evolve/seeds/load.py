"""Round 0: the seed tasks that a run starts from, read from a file, a folder, the hub, or the packaged set.

A row is mapped by the names of its fields, checked, normalised and drawn; all of that is pure. A row that cannot be
used is reported by its place in its file and never dropped in silence. Fetching is in ``sources``; near-duplicates and
benchmark problems among the seeds are not looked for here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from evolcoder.console import Reporter
from evolcoder.errors import DataError
from evolcoder.evolve.seeds.files import SUFFIXES, BadRow, RawRow, a_kind, read_rows
from evolcoder.records import SEED_OPERATOR, Instruction
from evolcoder.settings import SeedSettings
from evolcoder.sources import HubDataset, SourceFile, find_source
from evolcoder.storage.folders import Folder
from evolcoder.storage.hashes import stable_hash

PACKAGED = "packaged"
INSTRUCTION_FIELDS = ("instruction", "prompt", "problem", "question")
INPUT_FIELDS = ("input",)
RESPONSE_FIELDS = ("output", "response", "answer", "solution", "completion")
FIELDS = (*INSTRUCTION_FIELDS, *INPUT_FIELDS, *RESPONSE_FIELDS)
BAD_ROWS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Seed:
    """One usable row, normalised."""

    instruction: str
    input: str
    response: str

    @property
    def id(self) -> str:
        return stable_hash(self.instruction, self.input)


class UnusableRowError(ValueError):
    """Why a row cannot be a seed."""


def load_seeds(settings: SeedSettings, reporter: Reporter) -> list[Instruction]:
    """The seeds of a run as round 0, in an order that depends on ``settings.seed`` and the rows alone, not on files.

    Says how many rows were read, left out and drawn. A larger ``limit`` adds to the seeds that a smaller one drew.

    Raises:
        DataError: nothing is there, a file is malformed, or no row can be used.
    """
    usable: list[Seed] = []
    bad: list[BadRow] = []
    for raw in _read_source(settings.path, reporter):
        try:
            if isinstance(raw, RawRow):
                usable.append(map_row(raw.value))
            else:
                bad.append(raw)
        except UnusableRowError as error:
            bad.append(BadRow(raw.place, str(error)))
    for row in bad[:BAD_ROWS_SHOWN]:
        reporter.warn(f"{row.place}: {row.reason}; the row is left out")
    if len(bad) > BAD_ROWS_SHOWN:
        reporter.warn(f"{len(bad) - BAD_ROWS_SHOWN:,} more such rows are left out, {len(bad):,} in all")
    if not usable:
        if not bad:
            raise DataError(f"seeds.path={settings.path} holds no rows; each row needs at least an instruction.")
        first = f"{bad[0].place} {bad[0].reason}"
        raise DataError(f"None of the {len(bad):,} rows of seeds.path={settings.path} can be used: {first}.")
    distinct = without_duplicates(usable)
    drawn = draw(distinct, settings.limit, settings.seed)
    reporter.say(_account(settings, len(usable) + len(bad), len(bad), len(usable) - len(distinct), len(drawn)))
    return [to_instruction(seed) for seed in drawn]


def map_row(row: object) -> Seed:
    """One row of any of the known layouts as a seed.

    Raises:
        UnusableRowError: it cannot be one; the message says why, in a few words.
    """
    if not isinstance(row, Mapping):
        raise UnusableRowError(f"is {a_kind(row)}, not an object with fields")
    instruction = _first_text(row, INSTRUCTION_FIELDS)
    if not instruction:
        known = ", ".join(str(name) for name in row) or "no field at all"
        raise UnusableRowError(f"has no instruction (it has: {known[:120]})")
    return Seed(instruction, _first_text(row, INPUT_FIELDS), _first_text(row, RESPONSE_FIELDS))


def normalise(text: str) -> str:
    """The same text in one form: NFC, line feeds only, no space at the ends of lines or around the whole."""
    lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()


def without_duplicates(seeds: Iterable[Seed]) -> list[Seed]:
    """One seed for each id; of several responses, the one kept does not depend on the order of the rows."""
    best: dict[str, Seed] = {}
    for seed in seeds:
        known = best.setdefault(seed.id, seed)
        best[seed.id] = max(known, seed, key=lambda one: (bool(one.response), stable_hash(one.response)))
    return list(best.values())


def draw(seeds: Iterable[Seed], limit: int | None, seed: int) -> list[Seed]:
    """A sample of ``limit`` seeds, or all: the first in the order of a seeded hash, so that row order does not matter."""
    return sorted(seeds, key=lambda row: stable_hash("seed order", str(seed), row.id))[:limit]


def to_instruction(seed: Seed) -> Instruction:
    return Instruction(
        id=seed.id,
        round=0,
        parent_id=None,
        root_id=seed.id,
        operator=SEED_OPERATOR,
        instruction=seed.instruction,
        input=seed.input,
        response=seed.response,
        teacher="",
        sampling="",
        prompt_tokens=0,
        completion_tokens=0,
        request_keys=[],
        status="kept",
        reason=None,
    )


def _first_text(row: Mapping[str, Any], fields: Iterable[str]) -> str:
    """The first of these fields that says something, normalised; "" when none does."""
    for name in fields:
        value = row.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise UnusableRowError(f"has {a_kind(value)} as its {name}, not text")
        try:  # JSON may escape half a pair ("\ud83d"), which Python reads and no file, request or hash can hold
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise UnusableRowError(f"has half a surrogate pair in its {name}, which is not valid text") from None
        if text := normalise(value):
            return text
    return ""


def _read_source(path: str, reporter: Reporter) -> Iterator[RawRow | BadRow]:
    if path == PACKAGED:
        here = Folder.open(Path(__file__).parent)
        return read_rows(SourceFile(here, "packaged_seeds.jsonl"), FIELDS)
    found = find_source(path, SUFFIXES)
    if isinstance(found, HubDataset):
        if found.revision is None:
            reporter.say(f"{found}: its newest revision; `{found}@REVISION` pins one")
        return (RawRow(f"{found} row {number}", row) for number, row in enumerate(found.rows(), start=1))
    return chain.from_iterable(read_rows(file, FIELDS) for file in found)


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
