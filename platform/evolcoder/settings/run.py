"""What a run is, as frozen models checked at birth; ``files.py`` reads them from YAML.

The defaults are a laptop's. Fields listed in a model's ``NOT_IDENTITY`` say where and how fast, not what: they are no part
of the fingerprint, so changing them never makes a finished stage stale.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from evolcoder.benchmark_table import BENCHMARKS
from evolcoder.errors import suggestion
from evolcoder.settings.evolve import EvolveSettings, SeedSettings, TeacherSettings
from evolcoder.settings.section import AUTO, EMBEDDED, BenchmarkName, PositiveFloat, PositiveInt, Section, Text


class LoraSettings(Section):
    """Low-rank adaptation: the base model stays as it is, and small matrices beside its own are trained."""

    rank: PositiveInt = 16
    alpha: PositiveInt = 32
    """What the adapter adds is scaled by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Literal["all-linear"] | tuple[Text, ...] = "all-linear"
    """The names of the layers that get one; all-linear: all linear layers but the head."""

    @field_validator("targets")
    @classmethod
    def _some(cls, targets: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not targets:
            raise ValueError("name the layers that get an adapter, or set it to all-linear")
        return targets


class TrainSettings(Section):
    NOT_IDENTITY = frozenset({"workers", "micro_batch_size", "packing", "gradient_checkpointing", "zero_stage", "offload"}) | {
        "attention",
        "trackers", "checkpoint_steps", "checkpoint_minutes", "keep_checkpoints",
        "gpu_memory_gib", "tokens_per_second", "usd_per_gpu_hour",
    }  # fmt: skip

    base_model: str = EMBEDDED
    data_rounds: Annotated[int, Field(ge=0)] | None = None
    max_steps: PositiveInt | None = 200
    epochs: PositiveInt | None = None
    global_batch_size: PositiveInt = 512
    micro_batch_size: PositiveInt | None = None
    sequence_length: Annotated[int, Field(ge=64)] = 2048
    overlong: Literal["truncate", "drop", "error"] = "truncate"
    """What becomes of a row that is longer; truncate: it loses its end, and so its EOS."""
    packing: Literal["auto", True, False] = "auto"
    """Rows lie one behind the other in a micro-batch, and none is padded; auto: where the model is known to keep them apart."""
    attention: Literal["auto", "flash_attention_2", "sdpa", "eager"] = "auto"
    """Who computes it; auto: what keeps packed rows apart, else sdpa. The others are transformers' own, which pad rows."""
    learning_rate: PositiveFloat = 2.0e-5
    warmup_steps: Annotated[int, Field(ge=0)] = 30
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    precision: Literal["auto", "fp16", "bf16", "fp32"] = "auto"
    gradient_checkpointing: Literal["auto", True, False] = "auto"
    """Activations are computed again in the backward pass instead of kept; auto: on a GPU, and for a billion parameters."""
    lora: LoraSettings | None = None
    """Train an adapter instead of all weights."""
    zero_stage: Literal[0, 1, 2, 3] = 2
    offload: Literal["optimizer", "all"] | None = None
    workers: PositiveInt = 1
    held_out: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """The share of seed families whose rows, all of them, are not trained on; the loss on them is measured."""
    evaluate_steps: PositiveInt = 25
    """After every so many steps, and the last one, the loss on the rows that are held out is measured."""
    early_stop_patience: PositiveInt | None = None
    """End after so many of these in a row without a lower loss than the best, and keep the model of the best."""
    checkpoint_steps: PositiveInt = 50
    checkpoint_minutes: PositiveFloat | None = None
    """Also after as long as this."""
    keep_checkpoints: PositiveInt = 2
    trackers: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ()
    """What shows the metrics beside ``metrics.jsonl``; where, their own environment variables say."""
    gpu_memory_gib: PositiveFloat | None = None
    """Of each GPU of the cluster; for `evolcoder plan`, as are the next two."""
    tokens_per_second: PositiveFloat | None = None
    """Of all workers together; None: as a training of this run has measured."""
    usd_per_gpu_hour: PositiveFloat | None = None
    seed: int = 0

    def identity(self) -> dict[str, Any]:
        """What came later is a part of it only where it is set: trainings that were finished before stay as they are."""
        later: dict[str, Any] = {"overlong": "truncate", "lora": None, "held_out": 0.0, "early_stop_patience": None}
        decides = {name: value for name, value in super().identity().items() if later.get(name, ...) != value}
        if self.early_stop_patience is None:  # it looks, and changes nothing
            del decides["evaluate_steps"]
        return decides

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
        if self.early_stop_patience is not None and not self.held_out:
            raise ValueError(
                "train.early_stop_patience looks at the loss on rows that are held out; set train.held_out to a share like 0.05"
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
    """Which models a run trains and scores beside its own (see ``run/variants.py``), and whose scores its report shows too."""

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
    benchmarks: tuple[BenchmarkName, ...] | None = None
    """What they, the run's own and the base model are scored on; None: ``evaluate.benchmarks``."""
    development: BenchmarkName = "mbpp-dev"
    """By whose scores ``evolve.rounds: auto`` chooses the number of rounds. No model is tested by it."""
    patience: PositiveInt = 2
    """How many rounds in a row may be no gain before ``auto`` ends."""
    error_rate: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """How often, at most, ``auto`` goes on although nothing is gained any more."""
    beside: tuple[Text, ...] = ()
    """Folders of other runs, or of single evaluations."""

    @field_validator("benchmarks")
    @classmethod
    def _some(cls, given: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if given == ():
            raise ValueError("name at least one benchmark, or null for those of evaluate.benchmarks")
        return given

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
        if self.evolve.rounds == AUTO:
            most, setting = self.evolve.max_rounds, "evolve.max_rounds"
            if self.train.data_rounds is not None:
                raise ValueError(
                    "evolve.rounds=auto chooses the rounds that the model is trained on; leave train.data_rounds out"
                )
            # What chooses the number of rounds must not test the models too.
            chooses = self.study.development
            for name in (*self.evaluate.benchmarks, *(self.study.benchmarks or ())):
                if name == chooses or name in BENCHMARKS[chooses].shares_with:
                    same = "is" if name == chooses else "holds problems of"
                    raise ValueError(
                        f"{name} tests the models and {same} study.development={chooses}, by which evolve.rounds=auto chooses "
                        "among them: such a score would be too good; leave it out of the benchmarks, or name another "
                        "study.development"
                    )
        else:
            most, setting = self.evolve.last_round, "evolve.rounds"
        if self.train.data_rounds is not None and self.train.data_rounds > most:
            raise ValueError(f"train.data_rounds={self.train.data_rounds} asks for more rounds than {setting}={most}")
        for last in self.study.base_rounds:
            if last > most:
                raise ValueError(f"study.base_rounds holds {last}, which is more than {setting}={most}")
        operators = [item if isinstance(item, str) else item.name for item in self.evolve.operators]
        for operator in self.study.leave_out:
            if operator not in operators:
                raise ValueError(
                    f"study.leave_out holds {operator!r}, which is not in evolve.operators{suggestion(operator, operators)}"
                )
        if self.study.several_models and "tuned" not in self.evaluate.models:
            raise ValueError("study compares models that the run trains; add tuned to evaluate.models, or leave study out")
        return self
