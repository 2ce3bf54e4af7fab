"""The pictures of a report, from the same plain data as its tables. Each function returns a chart or None when there is
nothing to draw; this module writes no files."""

from __future__ import annotations

import json
from typing import Any

import altair as alt

OURS, BASE, BESIDE, PUBLISHED = "#d9480f", "#1971c2", "#9c36b5", "#ced4da"
_KEPT, _ELIMINATED = "#2b8a3e", "#e8b4a0"
NARROW_PIXELS = 320
"""What a page has for a picture on a phone of 390 pixels, less its margins and a little."""
_FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


def draw(evidence: dict[str, Any], narrow: bool = False) -> dict[str, alt.Chart]:
    """All charts that the evidence allows, by the name of their file.

    Args:
        narrow: as a phone shows them, no wider than ``NARROW_PIXELS`` with letters of the same size.
    """
    charts = {
        "scores": scores(evidence, "humaneval", "HumanEval", narrow),
        "scores_mbpp": scores(evidence, "mbpp", "MBPP", narrow),
        "by_round": by_round(evidence, narrow),
        "evolution": evolution(evidence, narrow),
        "training": training(evidence, narrow),
    }
    return {name: _styled(chart) for name, chart in charts.items() if chart is not None}


def scores(evidence: dict[str, Any], benchmark: str, title: str, narrow: bool) -> alt.Chart | None:
    """pass@1 on a benchmark: our models with their 95 % intervals, among the published ones.

    Narrow, each model's name stands above its bar, where it has the whole width.
    """
    shown = {"tuned": "this run, tuned", "base": "this run, base", "beside": "another run"}
    ours = [
        {
            "model": f"{s['model']} ({s['role']})",
            "kind": s["role"].partition(":")[0],
            "value": round(100 * s["value"], 1),
            "low": 100 * s["interval"][0],
            "high": 100 * s["interval"][1],
        }
        for s in evidence["scores"]
        if s["benchmark"] == benchmark and s["k"] == 1 and s["role"].partition(":")[0] in shown
    ]
    if not ours:
        return None
    rows = list(ours)
    rows += [
        {"model": p["model"], "kind": "published", "value": p[benchmark], "low": None, "high": None}
        for p in evidence["published"]
        if p[benchmark] is not None
    ]
    order = [row["model"] for row in sorted(rows, key=lambda row: -row["value"])]
    axis = None if narrow else alt.Axis(labelLimit=260)
    base = alt.Chart(alt.Data(values=rows)).encode(y=alt.Y("model:N", sort=order, title=None, axis=axis))
    colors = {"tuned": OURS, "base": BASE, "beside": BESIDE, "published": PUBLISHED}
    kinds = [kind for kind in colors if kind != "beside" or any(row["kind"] == kind for row in ours)]
    color = alt.Color(
        "kind:N",
        title=None,
        scale=alt.Scale(domain=kinds, range=[colors[kind] for kind in kinds]),
        legend=alt.Legend(
            orient="bottom" if narrow else "bottom-right",
            columns=2 if narrow else 1,
            labelExpr=f"{json.dumps(shown)}[datum.label] || 'as published'",
        ),
    )
    below = 9 if narrow else 0
    bars = base.mark_bar(cornerRadiusEnd=2, height={"band": 0.36 if narrow else 0.72}, yOffset=below).encode(
        x=alt.X("value:Q", title=f"pass@1 on {title}, %", scale=alt.Scale(domainMin=0)), color=color
    )
    whiskers = (
        base.mark_rule(strokeWidth=2, color="#343a40", yOffset=below)
        .encode(x="low:Q", x2="high:Q")
        .transform_filter("isValid(datum.low)")
    )
    labels = (
        base.mark_text(align="left", dx=5, dy=below, fontSize=12, color="#495057")
        .encode(x=alt.X("label_at:Q"), text=alt.Text("value:Q", format=".1f"))
        .transform_calculate(label_at="isValid(datum.high) ? datum.high : datum.value")
    )
    layers = [bars, whiskers, labels]
    if narrow:
        names = base.mark_text(align="left", dy=-9, fontSize=12, limit=270, color="#212529")
        layers.append(names.encode(x=alt.datum(0), text="model:N"))
    return alt.layer(*layers).properties(width=255 if narrow else 620, height=alt.Step(40 if narrow else 20))


def by_round(evidence: dict[str, Any], narrow: bool) -> alt.LayerChart | None:
    """pass@1 of the models that were trained on rounds 0 to k, with 95 % intervals; one line for each benchmark."""
    last = {v["model"]: v["rounds_from_the_start"] for v in evidence.get("variants", [])}
    rows = [
        {
            "round": last[s["role"]],
            "benchmark": s["benchmark"],
            "value": 100 * s["value"],
            "low": 100 * s["interval"][0],
            "high": 100 * s["interval"][1],
        }
        for s in evidence["scores"]
        if s["k"] == 1 and last.get(s["role"]) is not None
    ]
    if len({row["round"] for row in rows}) < 2:
        return None
    axis = alt.Axis(values=sorted({row["round"] for row in rows}), format="d", grid=False)
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("round:Q", title="trained on rounds 0 to", axis=axis, scale=alt.Scale(padding=12, nice=False, zero=False)),
        color=alt.Color("benchmark:N", title=None, legend=alt.Legend(orient="bottom", columns=2)),
    )
    value = alt.Y("value:Q", title="pass@1, %", scale=alt.Scale(zero=False))
    line = base.mark_line(strokeWidth=2).encode(y=alt.Y("mean(value):Q", title="pass@1, %", scale=alt.Scale(zero=False)))
    points = base.mark_point(filled=True, size=40).encode(y=value)
    intervals = base.mark_rule(opacity=0.5).encode(y=alt.Y("low:Q"), y2="high:Q")
    return alt.layer(intervals, line, points).properties(width=240 if narrow else 680, height=200 if narrow else 240)


def evolution(evidence: dict[str, Any], narrow: bool) -> alt.Chart | None:
    """What each operator made in each round: kept and eliminated rows."""
    rows = []
    for entry in evidence["rounds"]:
        for operator in entry["operators"] if entry["round"] else ():
            for outcome, count in (("kept", operator["kept"]), ("eliminated", operator["rows"] - operator["kept"])):
                name = operator["operator"].replace("_", " ")
                rows.append({"round": f"round {entry['round']}", "operator": name, "outcome": outcome, "rows": count})
    if not rows:
        return None
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(height={"band": 0.7})
        .encode(
            x=alt.X("rows:Q", title="rows", axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("operator:N", title=None, axis=alt.Axis(labelLimit=200)),
            color=alt.Color(
                "outcome:N",
                title=None,
                scale=alt.Scale(domain=["kept", "eliminated"], range=[_KEPT, _ELIMINATED]),
                legend=alt.Legend(orient="bottom"),
            ),
            order=alt.Order("outcome:N", sort="descending"),
            row=alt.Row(
                "round:N",
                title=None,
                header=alt.Header(
                    labelAngle=0,
                    labelAlign="left",
                    labelAnchor="start",
                    labelFontSize=12,
                    labelFontWeight="bold",
                    labelOrient="top" if narrow else "left",
                ),
            ),
        )
        .properties(width=150 if narrow else 520, height=alt.Step(22))
    )


def training(evidence: dict[str, Any], narrow: bool) -> alt.Chart | None:
    """The loss over the steps."""
    if not evidence["training"]:
        return None
    steps = [{"step": s["step"], "loss": s["loss"]} for s in evidence["training"]["steps"]]
    return (
        alt.Chart(alt.Data(values=steps))
        .mark_line(
            color=OURS, strokeWidth=2, point=alt.OverlayMarkDef(filled=True, size=36, color=OURS) if len(steps) < 60 else False
        )
        .encode(
            x=alt.X("step:Q", title="step", axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("loss:Q", title="loss on the responses", scale=alt.Scale(zero=False)),
        )
        .properties(width=240 if narrow else 680, height=200 if narrow else 220)
    )


def _styled(chart: alt.Chart) -> alt.Chart:
    return (
        chart.configure(font=_FONT, background="white", padding=8)
        .configure_view(stroke=None)
        .configure_axis(
            labelFontSize=12, titleFontSize=12, titleFontWeight="normal", gridColor="#edf0f2", domain=False, ticks=False
        )
        .configure_axisY(grid=False)
        .configure_legend(labelFontSize=12, symbolType="square")
    )
