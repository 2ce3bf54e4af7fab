"""What others reported, for the rows that a report prints beside its own. Source: the WizardCoder paper.

These are pass@1 in percent as printed there, by other harnesses, prompts and sampling: context, not a comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Published:
    """pass@1 in percent; None where the paper prints none. ``access``: whether the weights can be had."""

    model: str
    size: str
    humaneval: float | None
    mbpp: float | None
    access: Literal["open", "closed"]
    ds1000_insertion: float | None = None


PUBLISHED = (
    Published("LaMDA", "137B", 14.0, None, "closed"),
    Published("AlphaCode", "1.1B", 17.1, None, "closed"),
    Published("PaLM", "540B", 26.2, 36.8, "closed"),
    Published("PaLM-Coder", "540B", 36.0, 47.0, "closed"),
    Published("PaLM 2-S", "", 37.6, 50.0, "closed"),
    Published("Codex", "2.5B", 21.4, None, "closed"),
    Published("Codex", "12B", 28.8, None, "closed"),
    Published("Code-Cushman-001", "", 33.5, 45.9, "closed"),
    Published("Code-Davinci-002", "", 47.0, 58.1, "closed"),
    Published("GPT-3.5", "", 48.1, None, "closed"),
    Published("GPT-4", "", 67.0, None, "closed"),
    Published("LLaMA", "33B", 21.7, 30.2, "open"),
    Published("LLaMA", "65B", 23.7, 37.7, "open"),
    Published("CodeGen-Multi", "16B", 18.3, 20.9, "open"),
    Published("CodeGen-Mono", "16B", 29.3, 35.3, "open"),
    Published("CodeGeeX", "13B", 22.9, 24.4, "open"),
    Published("StarCoder", "15B", 33.6, 43.6, "open", ds1000_insertion=25.4),
    Published("CodeT5+", "16B", 30.9, None, "open"),
    Published("InstructCodeT5+", "16B", 35.0, None, "open"),
    Published("WizardCoder", "15B", 57.3, 51.8, "open", ds1000_insertion=32.8),
)


PUBLISHED_ROUNDS = (
    {"round": 0, "rows": 20_000, "humaneval_alone": 45.7},
    {"round": 1, "rows": 38_000, "humaneval_alone": 56.1},
    {"round": 2, "rows": 58_000, "humaneval_alone": 53.0},
    {"round": 3, "rows": 78_000, "humaneval_alone": 54.3},
    {"round": 4, "rows": 98_000, "humaneval_alone": 51.2},
)
"""The rounds of the paper's own run. ``rows`` is the size of the training set of rounds 0 to this one; ``humaneval_alone`` is
pass@1 on HumanEval of a model trained on that round by itself.
"""

PUBLISHED_ROUNDS_SOURCE = (
    "Sizes of the training sets: the WizardCoder paper. pass@1 on HumanEval of each round alone: a secondary source, not "
    "the paper. The authors took rounds 0 to 3 (78k rows); they chose a first version on HumanEval itself."
)
