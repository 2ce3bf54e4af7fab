"""What others reported, for the rows that a report prints beside its own. Source: the WizardCoder paper, table 1.

These are pass@1 in percent as printed there, by other harnesses, prompts and sampling: context, not a comparison.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """pass@1 in percent; None where the paper prints none."""

    model: str
    size: str
    humaneval: float | None
    mbpp: float | None


PUBLISHED = (
    Published("LaMDA", "137B", 14.0, None),
    Published("AlphaCode", "1.1B", 17.1, None),
    Published("PaLM", "540B", 26.2, 36.8),
    Published("PaLM-Coder", "540B", 36.0, 47.0),
    Published("PaLM 2-S", "", 37.6, 50.0),
    Published("Codex", "2.5B", 21.4, None),
    Published("Codex", "12B", 28.8, None),
    Published("Code-Cushman-001", "", 33.5, 45.9),
    Published("Code-Davinci-002", "", 47.0, 58.1),
    Published("GPT-3.5", "", 48.1, None),
    Published("GPT-4", "", 67.0, None),
    Published("LLaMA", "33B", 21.7, 30.2),
    Published("LLaMA", "65B", 23.7, 37.7),
    Published("CodeGen-Multi", "16B", 18.3, 20.9),
    Published("CodeGen-Mono", "16B", 29.3, 35.3),
    Published("CodeGeeX", "13B", 22.9, 24.4),
    Published("StarCoder", "15B", 33.6, 43.6),
    Published("CodeT5+", "16B", 30.9, None),
    Published("InstructCodeT5+", "16B", 35.0, None),
    Published("WizardCoder", "15B", 57.3, 51.8),
)
