"""All the pictures of a report, by the name of their file; and the loss of all trainings in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from evolcoder.run.variants import TUNED as TUNED_ROLE
from evolcoder.study.evidence.findings import PUBLISHED_BENCHMARKS
from evolcoder.study.figures.rounds import by_round, measures, operators, papers_own
from evolcoder.study.figures.scores import by_library, gains, standing
from evolcoder.study.figures.style import MANY, PRINTED, TUNED, Figure

_MOST_POINTS = 4_000
"""Of all curves together, in one picture."""
OTHERS = "other models"


def draw(evidence: Mapping[str, Any]) -> dict[str, Figure]:
    """The charts that the evidence allows: what there is nothing to draw of is not there."""
    benchmarks = dict.fromkeys(score["benchmark"] for score in evidence["scores"])
    figures: dict[str, Figure | None] = {"gains": gains(evidence)}
    figures |= {f"by_round_{name}": by_round(evidence, name) for name in benchmarks}
    figures["by_round_paper"] = papers_own(evidence)
    figures |= {f"standing_{column}": standing(evidence, column) for column in PUBLISHED_BENCHMARKS}
    figures |= {f"libraries_{name}": by_library(evidence, name) for name in benchmarks}
    figures |= dict(measures(evidence))
    figures |= {"operators": operators(evidence), "training": curves(evidence)}
    return {name: figure for name, figure in figures.items() if figure is not None}


def curves(evidence: Mapping[str, Any]) -> Figure | None:
    """The loss by step: each model in a colour of its own, or, when they are many, the tuned one before all others."""
    trainings = [training for training in evidence["trainings"] if training["steps"]]
    if not trainings:
        return None
    few = len(trainings) <= len(MANY)
    each = max(2, _MOST_POINTS // len(trainings))
    rows = []
    for training in trainings:
        steps = training["steps"]
        for step in (*steps[: -1 : -(-len(steps) // each)], steps[-1]):
            name = training["model"] if few or training["model"] == TUNED_ROLE else OTHERS
            rows.append({"step": step["step"], "loss": step["loss"], "model": training["model"], "shown": name})
    names = list(dict.fromkeys(row["shown"] for row in sorted(rows, key=lambda row: row["shown"] != TUNED_ROLE)))
    colors = list(MANY[: len(names)]) if few else [TUNED if name == TUNED_ROLE else PRINTED for name in names]
    scale, own = alt.Scale(domain=names, range=colors), [row for row in rows if row["model"] == TUNED_ROLE]
    legend = alt.Legend(orient="bottom", columns=2, labelLimit=115, symbolType="stroke", symbolStrokeWidth=3)

    def lines(of: list[dict[str, Any]]) -> alt.Chart:
        base = alt.Chart(alt.Data(values=of)).encode(
            x=alt.X("step:Q", title="step", axis=alt.Axis(tickMinStep=1, tickCount=5, grid=False)),
            y=alt.Y("loss:Q", title="loss on the responses", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5)),
            color=alt.Color("shown:N", title=None, scale=scale, legend=legend if len(names) > 1 else None),
            detail="model:N",
        )
        one_step = all(len(training["steps"]) < 2 for training in trainings)
        return base.mark_point(filled=True, size=40) if one_step else base.mark_line(strokeWidth=2 if few else 1)

    # The run's own model once more, before the others.
    chart = alt.layer(lines(rows), *([lines(own).mark_line(strokeWidth=2)] if own and not few else []))
    ends = [f"{t['model']} from {t['steps'][0]['loss']:.3f} to {t['steps'][-1]['loss']:.3f}" for t in trainings[:12]]
    more = f", and {len(trainings) - 12} more" if len(trainings) > 12 else ""
    return Figure("training loss", f"Loss by step: {'; '.join(ends)}{more}.", chart.properties(width=235, height=190))
