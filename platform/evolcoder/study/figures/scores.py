"""Base against tuned, by benchmark or by library; and our models among the published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from evolcoder.run.variants import BASE as BASE_ROLE
from evolcoder.run.variants import TUNED as TUNED_ROLE
from evolcoder.study.evidence.findings import PUBLISHED_BENCHMARKS
from evolcoder.study.evidence.scores import BESIDE
from evolcoder.study.figures.style import BASE, OTHER, PRINTED, SOFT, TUNED, Figure, in_percent, told

_COLORS = {BASE_ROLE: BASE, TUNED_ROLE: TUNED}
_BARS_PIXELS = 115
_SHAPES = {BASE_ROLE: "circle", TUNED_ROLE: "diamond"}


def gains(evidence: Mapping[str, Any]) -> Figure | None:
    """pass@1 of base and tuned on each benchmark that both were scored on."""
    rows = [
        {"label": score["benchmark"] + (" (dev)" if score["development"] else ""), "role": score["role"], **in_percent(score)}
        for score in evidence["scores"]
        if score["role"] in _COLORS and score["k"] == 1
    ]
    return _pairs("pass@1 by benchmark", rows)


def by_library(evidence: Mapping[str, Any], benchmark: str) -> Figure | None:
    """pass@1 of base and tuned on each library of DS-1000."""
    rows = [
        {"label": library, "role": score["role"], **in_percent(group)}
        for score in evidence["scores"]
        if score["benchmark"] == benchmark and score["role"] in _COLORS
        for library, group in score.get("groups", {}).get("library", {}).items()
    ]
    return _pairs(f"pass@1 by library, {benchmark}", rows)


def _pairs(title: str, rows: Sequence[dict[str, Any]]) -> Figure | None:
    if not rows:
        return None
    labels = list(dict.fromkeys(row["label"] for row in rows))
    layers: list[alt.Chart] = []
    for role, offset in ((BASE_ROLE, -8), (TUNED_ROLE, 8)):
        mine = [row for row in rows if row["role"] == role]
        if not mine:
            continue
        base = alt.Chart(alt.Data(values=mine)).encode(
            y=alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(labelLimit=105, grid=False))
        )
        x = alt.X("value:Q", title="pass@1, %", scale=alt.Scale(domainMin=0, nice=True))
        color = alt.Color("role:N", title=None, scale=_scale(_COLORS), legend=alt.Legend(orient="bottom"))
        shape = alt.Shape("role:N", title=None, scale=_scale(_SHAPES))
        points = base.mark_point(filled=True, size=70, opacity=1, yOffset=offset)
        values = base.mark_text(align="left", dx=6, yOffset=offset, baseline="middle")
        layers += [
            base.mark_rule(color=_COLORS[role], yOffset=offset, strokeWidth=2).encode(x="low:Q", x2="high:Q"),
            points.encode(x=x, color=color, shape=shape),
            values.encode(x="high:Q", text=alt.Text("value:Q", format=".1f")),
        ]
    said = [f"{row['label']} {row['role']} {told(row)}" for row in rows]
    chart = alt.layer(*layers).properties(width=155, height=alt.Step(42))
    return Figure(title, f"{title} in percent, with 95 % intervals: {'; '.join(said)}.", chart)


def _scale(by_role: Mapping[str, str]) -> alt.Scale:
    return alt.Scale(domain=list(by_role), range=list(by_role.values()))


def standing(evidence: Mapping[str, Any], column: str) -> Figure | None:
    """Our models with their intervals above the published ones, closed and open apart; lines carry ours through them."""
    benchmark, title = PUBLISHED_BENCHMARKS[column]
    ours = [
        {
            "model": score["role"].removeprefix(BESIDE).removesuffix(f"/{benchmark}"),
            "role": score["role"] if score["role"] in _COLORS else "other",
            **in_percent(score),
        }
        for score in evidence["scores"]
        if score["benchmark"] == benchmark
        and score["k"] == 1
        and (score["role"] in _COLORS or score["role"].startswith(BESIDE))
    ]
    if not ours:
        return None
    printed = [{**p, "value": p[column]} for p in evidence["published"] if p[column] is not None]
    most = max([*(row["high"] for row in ours), *(row["value"] for row in printed)])
    x = alt.X("value:Q", scale=alt.Scale(domain=[0, most], nice=False), title=None)
    parts = [_bars(ours, "this run" if all(row["role"] in _COLORS for row in ours) else "this run and others", x)]
    for access in ("closed", "open"):
        rows = [row for row in printed if row["access"] == access]
        if rows:
            parts.append(_bars(rows, f"{access}, as printed", x, [row for row in ours if row["role"] in _COLORS]))
    chart = alt.vconcat(*parts, spacing=14)
    said = [f"{row['model']} {told(row)}" for row in ours]
    others = [f"{row['model']} {row['value']:.1f}" for row in sorted(printed, key=lambda row: -row["value"])]
    words = f"pass@1 on {title} in percent. Ours, with 95 % intervals: {'; '.join(said)}. As printed: {', '.join(others)}."
    return Figure(f"pass@1 on {title}, %", words, chart)


def _bars(rows: Sequence[Mapping[str, Any]], title: str, x: alt.X, lines: Sequence[Mapping[str, Any]] = ()) -> alt.LayerChart:
    """Bars with their values in a column at the right, where no line of ours crosses them."""
    order = [row["model"] for row in sorted(rows, key=lambda row: -row["value"])]
    base = alt.Chart(alt.Data(values=list(rows))).encode(
        y=alt.Y("model:N", sort=order, title=None, axis=alt.Axis(labelLimit=135, grid=False))
    )
    colors = alt.Color("role:N", scale=_scale({**_COLORS, "other": OTHER}), legend=None)
    bars = base.mark_bar(cornerRadiusEnd=2, height={"band": 0.7}, color=PRINTED).encode(x=x)
    layers: list[alt.Chart] = [bars]
    if "low" in rows[0]:
        layers = [bars.encode(color=colors), base.mark_rule(strokeWidth=2, color=SOFT).encode(x="low:Q", x2="high:Q")]
    for line in lines:
        mark = alt.Chart(alt.Data(values=[dict(line)]))
        dashes = [4, 3] if line["role"] == BASE_ROLE else [1, 0]
        layers.append(mark.mark_rule(strokeWidth=2, strokeDash=dashes).encode(x=alt.X("value:Q"), color=colors))
    values = base.mark_text(align="right").encode(x=alt.value(_BARS_PIXELS + 32), text=alt.Text("value:Q", format=".1f"))
    return alt.layer(*layers, values).properties(width=_BARS_PIXELS, height=alt.Step(19), title=alt.TitleParams(title))
