"""How all pictures look: one width that fits a phone, colours that the colour-blind tell apart, and the same in the dark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt
import vl_convert

PANEL_PIXELS = 320
"""No picture is wider: what a phone of 390 pixels has, less the page's margins. Wide screens put panels side by side."""
SMALL_PIXELS = 160
"""Of those that stand two to a row on a phone."""
SMALLEST_LETTERS = 12
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"

INK, SOFT, GRID, PAPER = "#212529", "#5c636a", "#e3e7ea", "#ffffff"
TUNED, BASE, OTHER, PRINTED = "#c2410c", "#1769aa", "#8250b5", "#b6bec6"
KEPT, ELIMINATED = BASE, "#e8a87c"
MANY = (TUNED, BASE, "#0a7d5a", OTHER, "#b5830a", "#c0488f")
"""Told apart with each of the three kinds of colour blindness; shapes and dashes say the same where lines cross."""

_IN_THE_DARK = {
    INK: "#e9ecef",
    SOFT: "#a9b1b9",
    GRID: "#343a40",
    PAPER: "#17191c",
    TUNED: "#ff9a5c",
    BASE: "#6db5f2",
    OTHER: "#c7a6ee",
    PRINTED: "#6b747d",
    ELIMINATED: "#8f5a37",
    MANY[2]: "#4fd1a5",
    MANY[4]: "#e8bd4e",
    MANY[5]: "#f093c8",
}


@dataclass(frozen=True)
class Figure:
    """A picture, its ``title``, and ``words`` that say what it shows to who does not see it."""

    title: str
    words: str
    chart: alt.TopLevelMixin
    small: bool = False


def plain_svg(figure: Figure) -> str:
    """The picture in its light colours alone, as paper has them."""
    letters = {"labelFontSize": SMALLEST_LETTERS, "titleFontSize": SMALLEST_LETTERS, "titleFontWeight": "normal"}
    config = {
        "font": FONT,
        "background": PAPER,
        "padding": 6,
        "view": {"stroke": None},
        "axis": {**letters, "labelColor": SOFT, "titleColor": SOFT, "gridColor": GRID, "domain": False, "ticks": False},
        "axisY": {"labelPadding": 6},
        "legend": {
            "labelFontSize": SMALLEST_LETTERS,
            "labelColor": INK,
            "symbolStrokeWidth": 0,
            "symbolOpacity": 1,
            "labelLimit": 250,
        },
        "title": {
            "fontSize": SMALLEST_LETTERS,
            "fontWeight": "bold",
            "color": INK,
            "anchor": "start",
            "frame": "group",
            "offset": 4,
        },
        "header": {"labelFontSize": SMALLEST_LETTERS, "labelColor": INK, "labelFontWeight": "bold", "title": None},
        "text": {"fontSize": SMALLEST_LETTERS, "color": SOFT},
    }
    text: str = vl_convert.vegalite_to_svg({**figure.chart.to_dict(validate=False), "config": config})
    return text


def with_dark_scheme(svg: str) -> str:
    """The same picture with other colours where its reader prefers a dark scheme."""
    rules = "".join(
        f'[{part}="{light}"]{{{part}:{dark}}}' for light, dark in _IN_THE_DARK.items() for part in ("fill", "stroke")
    )
    head, mark, rest = svg.partition(">")
    return f"{head}{mark}<style>@media(prefers-color-scheme:dark){{{rules}}}</style>{rest}"


def png(svg: str) -> bytes:
    """Of two pixels to a point."""
    return bytes(vl_convert.svg_to_png(svg, scale=2))


def in_percent(score: Mapping[str, Any]) -> dict[str, float]:
    """A score and the ends of its interval, as figures have them."""
    low, high = score["interval"]
    return {"value": 100 * score["value"], "low": 100 * low, "high": 100 * high}


def told(row: Mapping[str, Any]) -> str:
    return f"{row['value']:.1f} ({row['low']:.1f} to {row['high']:.1f})"
