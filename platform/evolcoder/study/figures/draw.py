"""All the pictures of a report, by the name of their file. What there is nothing to draw of is not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evolcoder.study.evidence.findings import PUBLISHED_BENCHMARKS
from evolcoder.study.figures.rounds import by_round, measures, operators, papers_own
from evolcoder.study.figures.scores import by_library, gains, standing
from evolcoder.study.figures.style import Figure
from evolcoder.study.figures.training import curves


def draw(evidence: Mapping[str, Any]) -> dict[str, Figure]:
    """The charts that the evidence allows."""
    benchmarks = dict.fromkeys(score["benchmark"] for score in evidence["scores"])
    figures: dict[str, Figure | None] = {"gains": gains(evidence)}
    figures |= {f"by_round_{name}": by_round(evidence, name) for name in benchmarks}
    figures["by_round_paper"] = papers_own(evidence)
    figures |= {f"standing_{column}": standing(evidence, column) for column in PUBLISHED_BENCHMARKS}
    figures |= {f"libraries_{name}": by_library(evidence, name) for name in benchmarks}
    figures |= dict(measures(evidence))
    figures |= {"operators": operators(evidence), "training": curves(evidence)}
    return {name: figure for name, figure in figures.items() if figure is not None}
