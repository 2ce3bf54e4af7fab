"""What the number of rounds does: to pass@1, ours and the paper's, and to the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import altair as alt

from evolcoder.study.evidence.difficulty import MEASURES
from evolcoder.study.evidence.scores import ALONE, CUMULATIVE
from evolcoder.study.figures.style import BASE, ELIMINATED, INK, KEPT, SMALLEST_LETTERS, TUNED, Figure, in_percent, told

_COLORS = {CUMULATIVE: TUNED, ALONE: BASE}
_SHAPES = {CUMULATIVE: "circle", ALONE: "square"}
_DASHES: dict[str, list[int]] = {CUMULATIVE: [1, 0], ALONE: [5, 3]}


def by_round(evidence: Mapping[str, Any], benchmark: str) -> Figure | None:
    """pass@1 of the models of rounds 0 to k and of each round alone; None when there are not two to connect."""
    entries = [entry for entry in evidence["by_round"] if entry["benchmark"] == benchmark]
    rows = [{"round": entry["round"], "kind": entry["kind"], **in_percent(entry)} for entry in entries]
    if len({row["round"] for row in rows}) < 2:
        return None
    picked = picked_round(evidence) if entries[0]["development"] else None
    title = f"{benchmark}: {'development set' if entries[0]['development'] else 'test set'}"
    in_order = sorted(rows, key=lambda row: (row["kind"] != CUMULATIVE, row["round"]))
    said = [
        f"{row['kind'].replace('k', str(row['round']), 1)} {told(row)}".replace("rounds 0 to 0", "round 0") for row in in_order
    ]
    words = f"pass@1 by round on {benchmark} in percent, with 95 % intervals: {'; '.join(said)}."
    if picked is not None:
        words += f" Round {picked} was picked."
    return Figure(title, words, _lines(rows, picked))


def picked_round(evidence: Mapping[str, Any]) -> int | None:
    """The last of the rounds that Evol Stop took; None while it has not ended, or where it decides nothing."""
    last = evidence["stopping"]["decisions"][-1] if evidence["stopping"] else None
    return None if last is None or last["go_on"] else last["best_round"]


def papers_own(evidence: Mapping[str, Any]) -> Figure:
    """The paper's figure: pass@1 on HumanEval of each round alone."""
    published = evidence["published_rounds"]["rounds"]
    rows = [{"round": p["round"], "kind": ALONE, "value": p["humaneval_alone"]} for p in published]
    said = ", ".join(f"round {row['round']} {row['value']:.1f}" for row in rows)
    return Figure("the paper: humaneval", f"The paper's rounds alone on HumanEval in percent: {said}.", _lines(rows, None))


def _lines(rows: Sequence[Mapping[str, Any]], picked: int | None) -> alt.LayerChart:
    rounds = sorted({row["round"] for row in rows})
    kinds = [kind for kind in _COLORS if any(row["kind"] == kind for row in rows)]
    axis = alt.Axis(values=rounds, format="d", grid=False)
    x = alt.X("round:Q", title="round k", axis=axis, scale=alt.Scale(padding=14, nice=False, zero=False))
    y = alt.Y("value:Q", title="pass@1, %", scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=5))

    def scale(of: Mapping[str, Any]) -> alt.Scale:
        return alt.Scale(domain=kinds, range=[of[kind] for kind in kinds])

    color = alt.Color("kind:N", title=None, scale=scale(_COLORS), legend=alt.Legend(orient="bottom"))
    points = alt.Chart(alt.Data(values=list(rows))).encode(x=x, color=color)
    means = alt.Y("mean(value):Q", title="pass@1, %")
    layers: list[alt.Chart] = []
    if picked is not None:
        mark = alt.Chart(alt.Data(values=[{"round": picked, "text": "picked"}]))
        layers.append(mark.mark_rule(color=INK, strokeDash=[2, 3]).encode(x=x))
        layers.append(mark.mark_text(align="left", dx=4, baseline="top", color=INK).encode(x=x, y=alt.value(0), text="text:N"))
    if "low" in rows[0]:
        layers.append(points.mark_rule(opacity=0.45, strokeWidth=2).encode(y=alt.Y("low:Q"), y2="high:Q"))
    dashes = alt.StrokeDash("kind:N", title=None, scale=scale(_DASHES), legend=None)
    layers.append(points.mark_line(strokeWidth=2).encode(y=means, strokeDash=dashes))
    shapes = alt.Shape("kind:N", title=None, scale=scale(_SHAPES))
    layers.append(points.mark_point(filled=True, size=55, opacity=1).encode(y=y, shape=shapes))
    return alt.layer(*layers).properties(width=235, height=190)


def measures(evidence: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """For each measure its course over the rounds: the median with the middle half of the rows, or the share."""
    for measure in MEASURES:
        rows = []
        for one in evidence["rounds"]:
            found = one["measures"][measure.name]
            if found is not None:
                scale = 100 if measure.share else 1
                bounds = {key: scale * found.get(key, found["value"]) for key in ("value", "low", "high")}
                rows.append({"round": one["round"], **bounds})
        if len(rows) > 1:
            said = ", ".join(f"round {row['round']} {row['value']:.0f}" for row in rows)
            words = f"{measure.title} by round, {'mean' if measure.share else 'median'}: {said}."
            yield f"data_{measure.name}", Figure(measure.title, words, _course(rows), small=True)


def _course(rows: Sequence[Mapping[str, Any]]) -> alt.LayerChart:
    axis = alt.Axis(values=[row["round"] for row in rows], format="d", grid=False)
    base = alt.Chart(alt.Data(values=list(rows))).encode(
        x=alt.X("round:Q", title=None, axis=axis, scale=alt.Scale(padding=6, nice=False))
    )
    most = max(1, *(row["high"] for row in rows))
    y = alt.Y("value:Q", title=None, scale=alt.Scale(domain=[0, most], nice=True), axis=alt.Axis(tickCount=3, format="~s"))
    band = base.mark_area(opacity=0.25, color=TUNED).encode(y=alt.Y("low:Q", title=None), y2="high:Q")
    line = base.mark_line(color=TUNED, strokeWidth=2).encode(y=y)
    points = base.mark_point(filled=True, size=34, opacity=1, color=TUNED).encode(y=y)
    return alt.layer(band, line, points).properties(width=104, height=90)


def operators(evidence: Mapping[str, Any]) -> Figure | None:
    """What each operator made in each round: kept and eliminated rows."""
    rows = []
    for entry in evidence["rounds"]:
        for operator in entry["operators"] if entry["round"] else ():
            for outcome, count in (("kept", operator["kept"]), ("eliminated", operator["rows"] - operator["kept"])):
                name = operator["operator"].replace("_", " ")
                rows.append({"round": f"round {entry['round']}", "operator": name, "outcome": outcome, "rows": count})
    if not rows:
        return None
    colors = alt.Scale(domain=["kept", "eliminated"], range=[KEPT, ELIMINATED])
    header = alt.Header(labelAngle=0, labelAlign="left", labelAnchor="start", labelOrient="top", labelFontSize=SMALLEST_LETTERS)
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(height={"band": 0.7})
        .encode(
            x=alt.X("rows:Q", title="rows", axis=alt.Axis(tickMinStep=1, tickCount=4, format="~s")),
            y=alt.Y("operator:N", title=None, axis=alt.Axis(labelLimit=120, grid=False)),
            color=alt.Color("outcome:N", title=None, scale=colors, legend=alt.Legend(orient="bottom", symbolType="square")),
            order=alt.Order("outcome:N", sort="descending"),
            row=alt.Row("round:N", title=None, header=header, spacing=8),
        )
        .properties(width=150, height=alt.Step(18))
    )
    said = [f"{row['round']} {row['operator']} {row['outcome']} {row['rows']}" for row in rows if row["rows"]]
    return Figure("rows by operator and round", f"Rows by operator and round: {', '.join(said)}.", chart)
