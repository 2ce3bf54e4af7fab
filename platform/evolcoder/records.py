"""The row types that cross from one room to another, each with its Arrow schema. Pure: no input or output here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import pyarrow as pa

InstructionStatus = Literal["kept", "eliminated", "failed"]
AnswerKind = Literal["answer", "completion", "solution"]
VerdictStatus = Literal["passed", "failed", "timeout", "memory", "extract_failed", "infra_error"]

SEED_OPERATOR = "seed"


class _Row:
    """Conversion to and from the plain dicts that Arrow and Ray Data carry."""

    __slots__ = ()

    def to_row(self) -> dict[str, Any]:
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        names = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        return cls(**{name: value for name, value in row.items() if name in names})


def _schema(row_type: type[_Row]) -> pa.Schema:
    """The row type's fields in their order: text but for numbers and lists of text; null where the annotation allows None."""
    by_annotation = {"int": pa.int64(), "float": pa.float64(), "list[str]": pa.list_(pa.string())}
    return pa.schema(
        [
            pa.field(
                f.name,
                pa.int32() if f.name in ("round", "sample") else by_annotation.get(str(f.type), pa.string()),
                nullable=str(f.type).endswith("| None"),
            )
            for f in dataclasses.fields(row_type)  # type: ignore[arg-type]
        ]
    )


@dataclass(frozen=True, slots=True)
class Instruction(_Row):
    """One instruction of one round with its response.

    Round 0 holds the seeds (``operator`` is ``seed``, ``parent_id`` is None, ``root_id`` is ``id``); only seeds have an
    ``input``. ``request_keys`` name the journal entries that paid for the row: the evolution first, the response last.
    ``reason`` names the elimination rule (``eliminated``) or the fault (``failed``), else it is None. The defaults are those of
    what no teacher wrote.
    """

    id: str
    round: int
    parent_id: str | None
    root_id: str
    operator: str
    instruction: str
    input: str
    response: str
    teacher: str = ""
    sampling: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    request_keys: list[str] = field(default_factory=list)
    status: InstructionStatus = "kept"
    reason: str | None = None


INSTRUCTION_SCHEMA = _schema(Instruction)


@dataclass(frozen=True, slots=True)
class Completion(_Row):
    """One model answer to one benchmark problem. ``prompt`` is what was sent: raw text, or the one chat message.

    ``kind`` says what ``answer`` is: a model's raw text, code that goes on from the problem, or a whole program.
    """

    task_id: str
    sample: int
    prompt: str
    answer: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    kind: AnswerKind = "answer"


COMPLETION_SCHEMA = _schema(Completion)


@dataclass(frozen=True, slots=True)
class Verdict(_Row):
    """What running one program showed. ``infra_error`` says that nothing was learned about the program.

    ``base`` and ``plus`` are the statuses of the two parts of a + benchmark, whose ``status`` is passed when both are;
    ``plus`` is ``not_run`` when base did not pass. Elsewhere ``base`` is the status, and ``plus`` None.
    """

    task_id: str
    sample: int
    status: VerdictStatus
    base: VerdictStatus
    plus: VerdictStatus | Literal["not_run"] | None
    detail: str
    program: str
    cpu_seconds: float
    wall_seconds: float


VERDICT_SCHEMA = _schema(Verdict)


@dataclass(frozen=True, slots=True)
class Score(_Row):
    """One number with the evidence behind it. ``interval`` is the 95 % interval named by ``interval_method``."""

    benchmark: str
    benchmark_version: str
    model: str
    style: str
    tasks: int
    samples: int
    k: int
    value: float
    interval: tuple[float, float]
    interval_method: str
    settings: dict[str, Any] = field(default_factory=dict)
