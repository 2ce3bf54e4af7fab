"""The models that a run trains, from its settings alone: its own, and those that a study compares with it. Pure.

All of them learn from the run's one training set. They differ in the rows that are taken of it and in the seed. Each is made
from the rounds up to its last one alone: a later round leaves it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from evolcoder.settings.run import RunSettings
from evolcoder.settings.section import AUTO

BASE = "base"
TUNED = "tuned"
"""The run's own model: trained on rounds 0 to ``train.data_rounds`` under ``train.seed``."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One training. ``matched`` takes of its round as much as the smallest of ``matched_rounds`` has; see ``train.prepare``."""

    rounds: tuple[int, ...]
    seed: int = 0
    leave_out: str = ""
    matched: Literal["rows", "tokens"] | None = None
    matched_rounds: tuple[int, ...] = ()
    name: str = TUNED
    """As ``serve.model``, scores and reports call it."""
    folder: str = ""
    """Within the run's ``train``."""

    @property
    def from_the_start(self) -> bool:
        """Whether it learns from the seeds and all rounds up to its last one."""
        return self.rounds == tuple(range(len(self.rounds)))

    @property
    def last_round(self) -> int:
        """The last round that decides its rows: those of a round that an earlier one holds too are left out of it."""
        return max(*self.rounds, *self.matched_rounds, 0)

    @property
    def label(self) -> str:
        """Its rows in words."""
        label = f"rounds 0-{self.rounds[-1]}" if self.from_the_start else f"round {self.rounds[0]} alone"
        if self.rounds == (0,):
            label = "round 0"
        if self.leave_out:
            label += f" without {self.leave_out}"
        return f"{label}, as many {self.matched} as the smallest" if self.matched else label

    def identity(self) -> dict[str, Any]:
        """What decides its rows, and the seed. That of rounds from the start is as it was before there were others."""
        identity: dict[str, Any] = {"data_rounds": self.rounds[-1], "seed": self.seed}
        if not self.from_the_start:
            identity["rounds"] = list(self.rounds)
        if self.leave_out:
            identity["leave_out"] = self.leave_out
        if self.matched:
            identity |= {"matched": self.matched, "matched_rounds": list(self.matched_rounds)}
        return identity


def up_to(last: int) -> Variant:
    """The seeds and the rounds up to ``last``."""
    name = f"rounds-0-{last}" if last else "rounds-0"
    return Variant(tuple(range(last + 1)), name=name, folder=str(last))


def own_variant(settings: RunSettings) -> Variant:
    last = settings.evolve.last_round if settings.train.data_rounds is None else settings.train.data_rounds
    return replace(up_to(last), seed=settings.train.seed, name=TUNED)


def run_variants(settings: RunSettings) -> list[Variant]:
    """The run's own model first, then what ``study`` asks for; what it asks for twice is there once."""
    study, own = settings.study, own_variant(settings)
    wanted = [up_to(last) for last in study.base_rounds]
    if study.alone:
        rounds = study.base_rounds or tuple(range(settings.evolve.last_round + 1))
        wanted += [_alone(number, study.matched, rounds) for number in rounds]
    for operator in study.leave_out:
        name = f"without-{operator}"
        wanted.append(replace(own, leave_out=operator, name=name, folder=name))
    found = {_content(own): own}
    for seed in dict.fromkeys((own.seed, *study.seeds)):
        for one in (own, *wanted):
            suffix = "" if seed == own.seed else f"-seed-{seed}"
            variant = replace(one, seed=seed, name=one.name + suffix, folder=one.folder + suffix)
            found.setdefault(_content(variant), variant)
    return list(found.values())


def benchmarks_of(settings: RunSettings, model: str) -> tuple[str, ...]:
    """What a model is scored on. The run's own and the base model are scored on the benchmarks of the run and of its study."""
    of_study = settings.study.benchmarks or settings.evaluate.benchmarks
    of_run = settings.evaluate.benchmarks if model in (TUNED, BASE) else ()
    return tuple(dict.fromkeys((*of_run, *of_study)))


def all_benchmarks(settings: RunSettings) -> tuple[str, ...]:
    """What any model of the run is scored on, the benchmark that Evol Stop decides by included."""
    development = (settings.study.development,) if settings.evolve.rounds == AUTO else ()
    return (*development, *benchmarks_of(settings, TUNED))


def _alone(number: int, matched: Literal["rows", "tokens"] | None, among: tuple[int, ...]) -> Variant:
    if matched is None:
        return up_to(0) if number == 0 else Variant((number,), name=f"round-{number}", folder=f"round-{number}")
    name = f"round-{number}-matched-{matched}"
    return Variant((number,), matched=matched, matched_rounds=tuple(sorted(set(among))), name=name, folder=name)


def _content(variant: Variant) -> tuple[object, ...]:
    return variant.rounds, variant.seed, variant.leave_out, variant.matched
