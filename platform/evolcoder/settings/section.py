"""What all sections of the settings are, and the types of their fields."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from evolcoder.benchmark_table import BENCHMARKS, checked_name, comparable_benchmarks

EMBEDDED = "embedded"
"""As a base URL: serve the small model ourselves. As a model: the small model of the PyPI package."""

AUTO = "auto"
"""As ``evolve.rounds``: as many as Evol Stop decides, see ``run/evol_stop.py``."""

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
