"""What a row of seed data means: texts under their usual names or those that a user gives, or a conversation's turns. Pure.

Texts are kept as they came, but for the blank lines around them: they may be code, to which a space or the form of a letter
matters. What reads the same is told by ``normalise``, which ids are made of.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evolcoder.evolve.rules.elimination import without_outer_blank_lines
from evolcoder.evolve.seeds.files import a_kind
from evolcoder.settings.evolve import SeedColumns
from evolcoder.storage.hashes import stable_hash
from evolcoder.text.encodable import encodable_json

USUAL_NAMES = {
    "instruction": ("instruction", "prompt", "problem", "question", "query"),
    "input": ("input", "context"),
    "response": ("output", "response", "answer", "solution", "completion"),
    "messages": ("messages", "conversations", "conversation"),
}
NO_INSTRUCTION = "no instruction"
_ASKS = frozenset({"user", "human", "prompter"})
_ANSWERS = frozenset({"assistant", "gpt", "model", "bot", "chatgpt"})


@dataclass(frozen=True, slots=True)
class Seed:
    """One usable row.

    ``replaced`` counts characters that no file can hold; ``shortened`` says that it came from a conversation of more than a
    question and its answer.
    """

    instruction: str
    input: str
    response: str
    replaced: int = field(default=0, compare=False)
    shortened: bool = field(default=False, compare=False)

    @property
    def id(self) -> str:
        return stable_hash(normalise(self.instruction), normalise(self.input))


class UnusableRowError(ValueError):
    """Why a row cannot be a seed."""


def field_names(columns: SeedColumns) -> dict[str, Sequence[str]]:
    """The names under which a row may hold each of what is wanted."""
    given = columns.model_dump()
    return {what: [given[what]] if given[what] else names for what, names in USUAL_NAMES.items()}


def map_row(row: object, columns: SeedColumns | None = None) -> Seed:
    """One row of any of the known layouts as a seed. A conversation counts where the other fields are no whole pair.

    Raises:
        UnusableRowError: it cannot be one; the message says why, in a few words.
    """
    try:
        row, replaced = encodable_json(row)
    except RecursionError:
        raise UnusableRowError("is nested too deeply") from None
    if not isinstance(row, Mapping):
        raise UnusableRowError(f"is {a_kind(row)}, not an object with fields")
    columns = columns or SeedColumns()
    names = field_names(columns)
    instruction = _first_text(row, names["instruction"], _ASKS)
    response = _first_text(row, names["response"], _ANSWERS)
    input_text = _first_text(row, names["input"], _ASKS)
    if columns.messages or not (instruction and response):
        for name in names["messages"]:
            asked, answered, shortened = _first_exchange(_turns(row.get(name)), name)
            if asked:
                return Seed(asked, "", answered, replaced, shortened)
    if not instruction:
        known = ", ".join(str(name) for name in row) or "no field at all"
        raise UnusableRowError(f"has {NO_INSTRUCTION} (it has: {known[:120]})")
    return Seed(instruction, input_text, response, replaced)


def normalise(text: str) -> str:
    """Texts that read the same as one: NFC, line feeds only, no space at the ends of lines or around the whole."""
    lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()


def without_duplicates(seeds: Iterable[Seed]) -> list[Seed]:
    """One seed for each id; of several, the one kept does not depend on the order of the rows."""
    best: dict[str, Seed] = {}
    for seed in seeds:
        known = best.setdefault(seed.id, seed)
        best[seed.id] = max(
            known, seed, key=lambda one: (bool(one.response), stable_hash(one.response), one.instruction, one.input)
        )
    return list(best.values())


def draw(seeds: Iterable[Seed], limit: int | None, seed: int) -> list[Seed]:
    """A sample of ``limit`` seeds, or all: the first in the order of a seeded hash, so that row order does not matter."""
    return sorted(seeds, key=lambda row: stable_hash("seed order", str(seed), row.id))[:limit]


def _first_text(row: Mapping[str, Any], names: Iterable[str], roles: Collection[str]) -> str:
    """The first of these fields that says something; "" when none does. Of a conversation's turns, the first by such a role."""
    for name in names:
        value = row.get(name)
        turns = _turns(value) if not isinstance(value, str) else []
        if turns:
            value = next((_content(turn, name) for turn in turns if _role(turn) in roles), None)
        if text := _text(value, name):
            return text
    return ""


def _text(value: object, name: str) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):  # pandas writes what is not there as NaN
        return ""
    if not isinstance(value, str):
        raise UnusableRowError(f"has {a_kind(value)} as its {name}, not text")
    return without_outer_blank_lines(value)


def _turns(value: object) -> Sequence[Mapping[str, Any]]:
    """A conversation, if the value is one: a list of turns, its JSON text, or one list for each key, as Parquet has it."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return []
    if isinstance(value, Mapping) and value and all(isinstance(column, list) for column in value.values()):
        value = [dict(zip(value, turn, strict=False)) for turn in zip(*value.values(), strict=False)]
    return value if isinstance(value, list) and all(isinstance(turn, Mapping) for turn in value) else []


def _role(turn: Mapping[str, Any]) -> str:
    return str(turn.get("role") or turn.get("from") or "").lower()


def _content(turn: Mapping[str, Any], name: str) -> str:
    """What a turn says, OpenAI's way (role, content) or ShareGPT's (from, value)."""
    content = next((turn[key] for key in ("content", "value") if turn.get(key) is not None), None)
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) < len(parts):
            raise UnusableRowError(f"has a part in its {name} that is not text")
        content = "".join(texts)
    return _text(content, name)


def _first_exchange(turns: Sequence[Mapping[str, Any]], name: str) -> tuple[str, str, bool]:
    """The first question, the answer to it, and whether there is more, such as a system message."""
    said = [(_role(turn), _content(turn, name)) for turn in turns]
    start = next((place for place, (role, text) in enumerate(said) if role in _ASKS and text), None)
    if start is None:
        return "", "", False
    answered = said[start + 1][1] if len(said) > start + 1 and said[start + 1][0] in _ANSWERS else ""
    whole = [(role, text) for role, text in said if text]
    return said[start][1], answered, len(whole) > 1 + bool(answered)
