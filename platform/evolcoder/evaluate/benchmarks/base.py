"""What a benchmark is: its problems, how each is put to a model, how an answer becomes a program, and its trusted test.

A new benchmark is one file, with a subclass of ``Benchmark``, and one entry in ``evolcoder.benchmark_table``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from evolcoder.benchmark_table import BENCHMARKS, BenchmarkFile
from evolcoder.evaluate.extraction import ExtractionId, future_imports
from evolcoder.problems.files import find_benchmark
from evolcoder.records import VerdictStatus
from evolcoder.sandbox.box import BoxSettings, Sandbox
from evolcoder.sandbox.isolation import Level, ResourceLimits
from evolcoder.sandbox.outcomes import BoxFault, ProgramRaised, ProgramTimeout
from evolcoder.sandbox.program import Program


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem. ``test``, ``material`` and ``canonical_solution`` never enter a box with a model's program.

    ``material`` is what the benchmark's own test needs beyond text. ``groups`` are labels that scores are also given by,
    such as a library.
    """

    task_id: str
    prompt: str
    entry_point: str
    canonical_solution: str
    test: str
    material: Any = None
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PromptStyle:
    """One way to put a benchmark's problems to a model, and which extraction belongs to it.

    ``prompt_id`` changes whenever a byte of the prompt does. ``render`` makes what is sent: raw text for ``completions``,
    the content of the one user message for ``chat``.
    """

    name: str
    prompt_id: str
    api: Literal["completions", "chat"]
    stops: tuple[str, ...]
    extraction: ExtractionId
    render: Callable[[Problem], str]


@dataclass(frozen=True, slots=True)
class PartResult:
    """What one part of a benchmark's tests found out about a program."""

    status: VerdictStatus
    detail: str
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0


def status_of(fault: BaseException) -> VerdictStatus:
    """The verdict on a program that raised, or that failed itself or by its box."""
    if isinstance(fault, BoxFault):
        return "infra_error"
    if isinstance(fault, ProgramRaised):
        return "memory" if fault.kind == "MemoryError" else "failed"
    return "timeout" if isinstance(fault, ProgramTimeout) else "failed"


class Benchmark(ABC):
    """One set of problems. Each of ``parts`` runs a program in a fresh process; the first that fails ends the verdict.

    It holds no state of its own: with every program to judge it is sent to a process of the cluster.
    """

    name: ClassVar[str]
    styles: ClassVar[tuple[PromptStyle, ...]]
    """The ways in which a model can be asked; ``chat`` is always one."""
    parts: ClassVar[tuple[str, ...]] = ("base",)
    code_follows_prompt: ClassVar[bool] = True
    """Whether a model's code goes on from the prompt; where that is no Python, the code alone is the program."""
    task_cpu_seconds: ClassVar[float] = 10.0
    """CPU time of one part of one program; the import may take half of it, and so may any one call."""
    packages: ClassVar[tuple[str, ...]] = ("numpy",)
    """What programs may import beside the standard library."""
    recorded_packages: ClassVar[tuple[str, ...]] = ()
    """What a score says of the packages that programs ran with, where that is not ``packages``."""
    notes: ClassVar[tuple[str, ...]] = ()
    """What every reader of a score must know of this benchmark's tests."""

    @property
    def file(self) -> BenchmarkFile:
        """Its data: of several versions the one that is there, else the first."""
        files = BENCHMARKS[self.name].files
        return next((file for file in files if find_benchmark(file.name)), files[0])

    @abstractmethod
    def problems(self) -> list[Problem]:
        """All problems in the benchmark's own order.

        Raises:
            DataError: the data is missing or is not the version that is scored here.
        """

    def task_id(self, text: str) -> str:
        """The id of the task that a file of samples means by a text."""
        return text

    def program(self, problem: Problem, code: str) -> str:
        """The whole program for a model's code. Prompt, then code: a repeated function wins over the prompt's, which still
        supplies imports and helpers.
        """
        future, rest = future_imports(code)
        return future + problem.prompt + rest if self.code_follows_prompt else code

    def require(self, level: Level) -> None:
        """Check what it takes to judge programs here, at a level of the sandbox; before any question is asked.

        Raises:
            DataError: something is missing; the message says what to do.
            SandboxError: programs of this benchmark cannot be run at that level.
        """
        return

    def program_limits(self, given: ResourceLimits) -> ResourceLimits:
        """What any program of this benchmark may use; ``given`` is what the user's settings say."""
        return given

    def box(self, problem: Problem, given: BoxSettings) -> BoxSettings:
        """The box for a problem's programs; ``given`` has the limits already."""
        return given

    def attempt(self, problem: Problem, part: str, source: str, box: Sandbox) -> PartResult | None:
        """The whole judging of one program, for a benchmark whose tests are no ``check`` of a loaded program; else None."""
        return None

    def prepare(self, problem: Problem, box: Sandbox) -> Any:
        """What ``limits`` and ``check`` need that takes a box to make, such as expected outputs; called for each program.

        Raises:
            BoxFault: it could not be made.
        """
        return None

    def reference_seconds(self, problem: Problem) -> float:
        """CPU time that the reference solution is known to take, so that long problems are judged first; 0 when it is not."""
        return 0.0

    def limits(self, problem: Problem, part: str, prepared: Any, given: ResourceLimits) -> ResourceLimits:
        """What a program may use in this part; ``given`` is what the user's settings say."""
        return given

    def check(self, problem: Problem, part: str, program: Program, prepared: Any) -> None:
        """Test a loaded program; runs on the trusted side.

        Raises:
            AssertionError: a wrong result.
            Exception: whatever else the test stumbles over: wrong all the same.
        """
        raise NotImplementedError(f"{self.name} has neither check nor attempt")
