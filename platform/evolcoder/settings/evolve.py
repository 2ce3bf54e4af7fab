"""The settings of seeds, of the teacher, and of evolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from evolcoder.errors import suggestion
from evolcoder.records import SEED_OPERATOR
from evolcoder.settings.section import AUTO, EMBEDDED, ComparableName, PositiveFloat, PositiveInt, Section, Text

PAPER_OPERATORS = ("constraints", "rarer_requirements", "deeper_reasoning", "erroneous_code", "complexity")


class SeedColumns(Section):
    """What the seeds' columns are called; one that is None is looked for under its usual names."""

    instruction: Text | None = None
    input: Text | None = None
    response: Text | None = None
    messages: Text | None = None
    """Of conversations: lists of turns with role and content, or from and value."""


class SeedSettings(Section):
    path: Text = "packaged"
    columns: SeedColumns = SeedColumns()
    limit: PositiveInt | None = None
    seed: int = 0


class EndpointSettings(Section):
    """One of several ways to the teacher's model. What is None is as ``teacher`` says."""

    base_url: str | None = None
    api_key_env: str | None = None
    requests_per_minute: PositiveInt | None = None
    tokens_per_minute: PositiveInt | None = None
    max_tokens_field: Text | None = None
    stream: bool | None = None


_OWN_FIELDS = {
    **{name: f"is set by teacher.{name}" for name in ("model", "temperature", "top_p", "max_tokens", "stream")},
    "max_completion_tokens": "is set by teacher.max_tokens with teacher.max_tokens_field=max_completion_tokens",
    "messages": "holds the prompt of each row",
    "n": "would ask, and pay, for answers that nobody reads",
}
"""Why a field of a request cannot stand in ``teacher.extra_body``."""


class TeacherSettings(Section):
    NOT_IDENTITY = frozenset(
        {
            "base_url", "api_key_env", "endpoints", "max_concurrency", "requests_per_minute", "tokens_per_minute", "budget_usd",
            "usd_per_million_input_tokens", "usd_per_million_output_tokens", "batch", "batch_poll_seconds", "timeout_seconds",
            "max_attempts", "transport", "max_tokens_field", "stream",
        }
    )  # fmt: skip

    base_url: str = EMBEDDED
    model: str = EMBEDDED
    api_key_env: str = "OPENAI_API_KEY"
    endpoints: tuple[EndpointSettings, ...] = ()
    """Several endpoints or keys that serve the same model; each has the limits of requests and tokens to itself."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 1.0
    """None, here and below: it is not sent, and the endpoint's own default holds."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = 0.95
    max_tokens: PositiveInt = 2048
    max_tokens_field: Text = "max_tokens"
    """The field of a request that holds ``max_tokens``: OpenAI's reasoning models know only ``max_completion_tokens``."""
    stream: bool = False
    """Whether replies are asked for as a stream, which some endpoints insist on."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """More fields for every request; one that is null keeps a field from being sent, such as ``seed``."""
    thinking_marks: tuple[tuple[Text, Text], ...] | None = ()
    """What stands around a model's thinking, besides the marks that are known; None: all text is answer."""
    max_concurrency: PositiveInt = 64
    requests_per_minute: PositiveInt | None = None
    tokens_per_minute: PositiveInt | None = None
    budget_usd: PositiveFloat | None = None
    usd_per_million_input_tokens: Annotated[float, Field(ge=0)] | None = None
    usd_per_million_output_tokens: Annotated[float, Field(ge=0)] | None = None
    batch: bool = False
    """Whether requests go by the endpoint's Batch API: cheaper, and answered within a day."""
    batch_poll_seconds: PositiveFloat = 30.0
    timeout_seconds: PositiveFloat = 600.0
    max_attempts: PositiveInt = 6
    transport: Literal["openai", "aiohttp"] = "aiohttp"
    """What carries requests: aiohttp alone, or the openai package, which takes more CPU time a call."""

    def identity(self) -> dict[str, Any]:
        """What came later is a part of it only where it is set: rounds that were finished before stay as they are."""
        later: dict[str, Any] = {"extra_body": {}, "thinking_marks": []}
        return {name: value for name, value in super().identity().items() if later.get(name, ...) != value}

    @field_validator("extra_body")
    @classmethod
    def _fields_without_a_setting(cls, given: dict[str, Any]) -> dict[str, Any]:
        for name in given:
            if name in _OWN_FIELDS:
                raise ValueError(f"the field {name!r} {_OWN_FIELDS[name]}")
        return given

    @model_validator(mode="after")
    def _consistent(self) -> TeacherSettings:
        prices = (self.usd_per_million_input_tokens, self.usd_per_million_output_tokens)
        if self.budget_usd is not None and None in prices:
            raise ValueError(
                "teacher.budget_usd needs teacher.usd_per_million_input_tokens and "
                "teacher.usd_per_million_output_tokens, or nothing can be counted against it"
            )
        if self.endpoints and EMBEDDED in (urls := [one.base_url or self.base_url for one in self.endpoints]):
            raise ValueError(
                f"teacher.endpoints[{urls.index(EMBEDDED)}] names no endpoint; give it a base_url, or set teacher.base_url"
            )
        if self.batch and (len(self.endpoints) > 1 or (self.base_url == EMBEDDED and not self.endpoints)):
            raise ValueError("teacher.batch needs one endpoint that has a Batch API; name it, or set teacher.batch to false")
        if self.batch and (self.stream or any(one.stream for one in self.endpoints)):
            raise ValueError("a batch has no streams; set teacher.stream or teacher.batch to false")
        if self.base_url == EMBEDDED and self.model != EMBEDDED and not self.endpoints:
            raise ValueError(
                f"teacher.model is {self.model!r} but teacher.base_url is 'embedded', which serves only the embedded "
                "model; set teacher.base_url to the endpoint that serves it"
            )
        return self


class DedupSettings(Section):
    """Exact duplicates always fall. Near ones fall from ``threshold`` on, as MinHash signatures estimate it."""

    near: bool = True
    threshold: Annotated[float, Field(ge=0.3, le=1)] = 0.7
    permutations: Annotated[int, Field(ge=16, le=1024)] = 128


class OperatorSettings(Section):
    """An operator of one's own, or a default one with another weight, wording or place.

    ``template`` holds ``{task}`` once; None is the wording of the default operator of that name. ``rounds`` and ``code``
    say where it applies: in these rounds, and to tasks with or without code in them; None is everywhere.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    template: str | None = None
    weight: PositiveFloat = 1.0
    rounds: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] | None = None
    code: bool | None = None

    @model_validator(mode="after")
    def _consistent(self) -> OperatorSettings:
        if self.name == SEED_OPERATOR:
            raise ValueError("the name 'seed' is taken: it stands for the seeds themselves")
        if self.template is None and self.name not in PAPER_OPERATORS:
            hint = suggestion(self.name, PAPER_OPERATORS)
            raise ValueError(f"it is none of the default operators{hint}, so it needs a template with {{task}} in it")
        if self.template is not None and self.template.count("{task}") != 1:
            raise ValueError("its template must hold {task} once, where the task to evolve goes")
        return self


def operator_applies(rounds: Sequence[int] | None, code: bool | None, round_number: int, with_code: bool) -> bool:
    """Whether an operator for these rounds and tasks may be drawn in that round for a task with or without code."""
    return (rounds is None or round_number in rounds) and code in (None, with_code)


class EvolveSettings(Section):
    NOT_IDENTITY = frozenset({"workers"})

    rounds: int | Literal["auto"] = 3
    """``auto``: round by round, as long as the models that are trained on them gain on ``study.development``."""
    max_rounds: Annotated[int, Field(ge=1, le=99)] = 5
    """The most that ``auto`` evolves."""
    workers: PositiveInt | None = None
    seed: int = 0
    operators: tuple[str | OperatorSettings, ...] = PAPER_OPERATORS
    judge: bool = False
    """Whether the teacher is asked, with one more call a row, if the evolved task says anything new."""
    max_instruction_words: PositiveInt = 1000
    dedup: DedupSettings = DedupSettings()
    decontaminate: tuple[ComparableName, ...] = ("humaneval",)
    """Benchmarks whose problems no row may hold; the default is the one whose data a package ships."""
    rows_per_shard: PositiveInt = 2000

    @field_validator("rounds", mode="before")
    @classmethod
    def _number_or_auto(cls, given: Any) -> Any:
        if given != AUTO and not (type(given) is int and 1 <= given <= 99):
            raise ValueError("it is a number from 1 to 99, or auto")
        return given

    @property
    def last_round(self) -> int:
        """The last round, of settings in which it is a number: ``evol_stop.as_decided`` makes it one."""
        if self.rounds == AUTO:
            raise ValueError("evolve.rounds is auto here, and was to be a number")
        return int(self.rounds)

    @field_validator("operators", mode="before")
    @classmethod
    def _readable_operators(cls, given: Any) -> Any:
        if not isinstance(given, list | tuple) or not given:
            raise ValueError(f"name at least one operator of {', '.join(PAPER_OPERATORS)}")
        operators = [_operator(item) for item in given]
        names = [item if isinstance(item, str) else item.name for item in operators]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the operator {name!r} is there twice; leave one of them out")
        return operators

    @model_validator(mode="after")
    def _somewhere(self) -> EvolveSettings:
        """Every row of every round must find an operator."""
        operators = [OperatorSettings(name=item) if isinstance(item, str) else item for item in self.operators]
        for number in range(1, 1 + (self.max_rounds if self.rounds == AUTO else self.last_round)):
            for with_code in (True, False):
                if not any(operator_applies(one.rounds, one.code, number, with_code) for one in operators):
                    tasks = f"tasks {'with' if with_code else 'without'} code"
                    raise ValueError(
                        f"evolve.operators has none that applies in round {number} to {tasks}; "
                        "add one, or widen the `rounds` or `code` of another"
                    )
        return self


def _operator(given: Any) -> str | OperatorSettings:
    if isinstance(given, str):
        if given not in PAPER_OPERATORS:
            raise ValueError(f"there is no operator {given!r}{suggestion(given, PAPER_OPERATORS)}")
        return given
    if not isinstance(given, Mapping | OperatorSettings):
        raise ValueError(f"an operator is a name or a mapping with name and template, not {given!r}")
    try:
        return OperatorSettings.model_validate(given)
    except ValidationError as error:
        name = given.get("name", "without a name") if isinstance(given, Mapping) else given.name
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            text = f"unknown key {key!r}{suggestion(key, OperatorSettings.model_fields)}"
        else:
            text = f"{key}{': ' if key else ''}{problem['msg'].removeprefix('Value error, ')}"
        raise ValueError(f"operator {name!r}: {text}") from None
