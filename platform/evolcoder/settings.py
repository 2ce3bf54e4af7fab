"""What a run is, as frozen models checked at birth; ``settings_files.py`` reads them from YAML.

The defaults are a laptop's. Fields listed in a model's ``NOT_IDENTITY`` say where and how fast, not what: they are no part
of the fingerprint, so changing them never makes a finished stage stale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from evolcoder.benchmark_table import BENCHMARKS, checked_name, comparable_benchmarks
from evolcoder.errors import suggestion
from evolcoder.records import SEED_OPERATOR

EMBEDDED = "embedded"
"""As a base URL: serve the small model ourselves. As a model: the small model of the PyPI package."""

PAPER_OPERATORS = ("constraints", "rarer_requirements", "deeper_reasoning", "erroneous_code", "complexity")

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Text = Annotated[str, Field(min_length=1)]


BenchmarkName = Annotated[str, AfterValidator(lambda name: checked_name(name, BENCHMARKS))]
ComparableName = Annotated[str, AfterValidator(lambda name: checked_name(name, comparable_benchmarks()))]


class Section(BaseModel):
    """A part of the settings. ``identity`` is the part of it that decides what the stage makes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset()

    def identity(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude=set(self.NOT_IDENTITY))


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
    extra_body: dict[str, Any] = {}
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

    rounds: Annotated[int, Field(ge=1, le=99)] = 3
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
        for number in range(1, self.rounds + 1):
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


class TrainSettings(Section):
    NOT_IDENTITY = frozenset({"workers", "micro_batch_size", "zero_stage", "offload", "checkpoint_steps"})

    base_model: str = EMBEDDED
    data_rounds: Annotated[int, Field(ge=0)] | None = None
    max_steps: PositiveInt | None = 200
    epochs: PositiveInt | None = None
    global_batch_size: PositiveInt = 512
    micro_batch_size: PositiveInt | None = None
    sequence_length: Annotated[int, Field(ge=64)] = 2048
    learning_rate: PositiveFloat = 2.0e-5
    warmup_steps: Annotated[int, Field(ge=0)] = 30
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    precision: Literal["auto", "fp16", "bf16", "fp32"] = "auto"
    zero_stage: Literal[0, 1, 2, 3] = 2
    offload: Literal["optimizer", "all"] | None = None
    workers: PositiveInt = 1
    checkpoint_steps: PositiveInt = 50
    seed: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> TrainSettings:
        if (self.max_steps is None) == (self.epochs is None):
            raise ValueError("set exactly one of train.max_steps and train.epochs, and the other to null")
        if self.global_batch_size % self.workers:
            raise ValueError(
                f"train.global_batch_size={self.global_batch_size} must be a multiple of train.workers={self.workers}"
            )
        if self.micro_batch_size and self.global_batch_size % (self.workers * self.micro_batch_size):
            raise ValueError(
                f"train.global_batch_size={self.global_batch_size} must be a multiple of train.workers x "
                f"train.micro_batch_size = {self.workers} x {self.micro_batch_size}"
            )
        if self.offload == "optimizer" and self.zero_stage == 0:
            raise ValueError("train.offload=optimizer needs train.zero_stage of 1, 2 or 3, not 0")
        if self.offload == "all" and self.zero_stage != 3:
            raise ValueError(f"train.offload=all moves parameters too, which needs train.zero_stage=3, not {self.zero_stage}")
        return self


class ServeSettings(Section):
    engine: Literal["transformers"] = "transformers"
    model: str = "tuned"
    """``tuned`` (the run's trained model), ``embedded``, or a folder with a Hugging Face model."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    api_key_file: str | None = None
    replicas: PositiveInt = 1
    max_concurrency: PositiveInt = 64
    max_batch_size: PositiveInt = 32
    max_model_len: PositiveInt | None = None
    request_timeout_seconds: PositiveFloat = 600.0


class EvaluateSettings(Section):
    NOT_IDENTITY = frozenset(
        {"models", "benchmarks", "max_concurrency", "workers", "sandbox", "sandbox_memory_mib", "thinking_marks"}
    )

    benchmarks: tuple[BenchmarkName, ...] = ("humaneval",)
    models: tuple[Literal["base", "tuned"], ...] = ("base", "tuned")
    limit: PositiveInt | None = None
    leave_out: tuple[str, ...] = ()
    """Task ids that are not scored, such as one whose data cannot be had; the score says so."""
    samples: PositiveInt = 1
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    max_tokens: PositiveInt = 512
    style: Literal["auto", "base", "few-shot", "wizardcoder", "chat"] = "auto"
    extraction: Literal["none", "stops", "wizardcoder", "chat", "ds1000", "sanitize"] | None = None
    """How code is taken from an answer; None: as the style has it."""
    thinking_marks: tuple[tuple[Text, Text], ...] | None = ()
    """What stands before and after a model's thinking, beside the marks that are known; None: nothing is thinking."""
    seed: int = 0
    max_concurrency: PositiveInt = 32
    workers: PositiveInt | None = None
    sandbox: Literal["bubblewrap", "landlock", "none"] = "bubblewrap"
    sandbox_memory_mib: PositiveInt = 1024
    timeout_seconds: PositiveFloat | None = None
    """CPU seconds one program may take; None: the benchmark's own limit. Wall time, the backstop, is four times this."""

    @model_validator(mode="after")
    def _consistent(self) -> EvaluateSettings:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(
                f"evaluate.samples={self.samples} with evaluate.temperature=0 would draw the same answer again and again; "
                "raise the temperature (0.2 is usual) or set samples to 1"
            )
        return self


class StudySettings(Section):
    """Which models a run trains and scores beside its own (see ``variants.py``), and whose scores its report shows too."""

    base_rounds: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """For each k of these, one that is trained on rounds 0 to k."""
    alone: bool = False
    """One for each of these rounds (all rounds when there are none), trained on that round by itself."""
    matched: Literal["rows", "tokens"] | None = None
    """Those of ``alone`` are trained on as much as the smallest of their rounds has."""
    leave_out: tuple[str, ...] = ()
    """For each of these operators, one that is trained without the rows that it made."""
    seeds: tuple[int, ...] = ()
    """Each model is trained again under these seeds."""
    beside: tuple[Text, ...] = ()
    """Folders of other runs, or of single evaluations."""

    @property
    def several_models(self) -> bool:
        """Whether it asks for more than the run's own model."""
        return bool(self.base_rounds or self.alone or self.leave_out or self.seeds)

    @model_validator(mode="after")
    def _consistent(self) -> StudySettings:
        if self.matched and not self.alone:
            raise ValueError("study.matched is for rounds that are trained on alone; set study.alone to true, or leave it out")
        return self


class RunSettings(Section):
    """A whole run; ``<storage>/<name>`` is its folder."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    storage: Text = "runs"
    seeds: SeedSettings = SeedSettings()
    teacher: TeacherSettings = TeacherSettings()
    evolve: EvolveSettings = EvolveSettings()
    train: TrainSettings = TrainSettings()
    serve: ServeSettings = ServeSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    study: StudySettings = StudySettings()

    @model_validator(mode="after")
    def _consistent(self) -> RunSettings:
        if self.train.data_rounds is not None and self.train.data_rounds > self.evolve.rounds:
            raise ValueError(
                f"train.data_rounds={self.train.data_rounds} asks for more rounds than evolve.rounds={self.evolve.rounds}"
            )
        for last in self.study.base_rounds:
            if last > self.evolve.rounds:
                raise ValueError(f"study.base_rounds holds {last}, which is more than evolve.rounds={self.evolve.rounds}")
        operators = [item if isinstance(item, str) else item.name for item in self.evolve.operators]
        for operator in self.study.leave_out:
            if operator not in operators:
                raise ValueError(
                    f"study.leave_out holds {operator!r}, which is not in evolve.operators{suggestion(operator, operators)}"
                )
        if self.study.several_models and "tuned" not in self.evaluate.models:
            raise ValueError("study compares models that the run trains; add tuned to evaluate.models, or leave study out")
        return self
