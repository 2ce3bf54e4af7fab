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


@dataclass(frozen=True, slots=True)
class Instruction(_Row):
    """One instruction of one round with its response.

    Round 0 holds the seeds (``operator`` is ``seed``, ``parent_id`` is None, ``root_id`` is ``id``); only seeds have an
    ``input``. ``request_keys`` name the journal entries that paid for the row: the evolution first, the response last.
    ``reason`` names the elimination rule (``eliminated``) or the fault (``failed``), else it is None.
    """

    id: str
    round: int
    parent_id: str | None
    root_id: str
    operator: str
    instruction: str
    input: str
    response: str
    teacher: str
    sampling: str
    prompt_tokens: int
    completion_tokens: int
    request_keys: list[str]
    status: InstructionStatus
    reason: str | None


INSTRUCTION_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("round", pa.int32(), nullable=False),
        pa.field("parent_id", pa.string()),
        pa.field("root_id", pa.string(), nullable=False),
        pa.field("operator", pa.string(), nullable=False),
        pa.field("instruction", pa.string(), nullable=False),
        pa.field("input", pa.string(), nullable=False),
        pa.field("response", pa.string(), nullable=False),
        pa.field("teacher", pa.string(), nullable=False),
        pa.field("sampling", pa.string(), nullable=False),
        pa.field("prompt_tokens", pa.int64(), nullable=False),
        pa.field("completion_tokens", pa.int64(), nullable=False),
        pa.field("request_keys", pa.list_(pa.string()), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
    ]
)


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


COMPLETION_SCHEMA = pa.schema(
    [
        pa.field("task_id", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("answer", pa.string(), nullable=False),
        pa.field("finish_reason", pa.string(), nullable=False),
        pa.field("prompt_tokens", pa.int64(), nullable=False),
        pa.field("completion_tokens", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
    ]
)


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


VERDICT_SCHEMA = pa.schema(
    [
        pa.field("task_id", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("base", pa.string(), nullable=False),
        pa.field("plus", pa.string()),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("program", pa.string(), nullable=False),
        pa.field("cpu_seconds", pa.float64(), nullable=False),
        pa.field("wall_seconds", pa.float64(), nullable=False),
    ]
)


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
