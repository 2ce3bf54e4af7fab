"""The report of a run: one self-contained HTML page, and the same as markdown, JSON and pictures.

It shows what is in the run folder when it is written, and says what is not there yet. It computes no scores.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version

import altair as alt
import jinja2

from evolcoder.errors import RunFolderError
from evolcoder.runs import RunFolder
from evolcoder.settings import RunSettings
from evolcoder.storage.folders import Folder
from evolcoder.storage.hashes import fingerprint
from evolcoder.storage.stage import Stage
from evolcoder.study.evidence import Evidence, gather
from evolcoder.study.figures import draw

_PIXELS_PER_POINT = 2


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """What the verb shows at its end."""

    paths: list[str]
    columns: list[str]
    rows: list[list[object]]
    already_done: bool


def write_report(settings: RunSettings, run: RunFolder, stage: Stage) -> WrittenReport:
    """Gather, draw and write a report; one that says the same already is left as it is.

    Args:
        stage: the report's place in the run. What decides it is the evidence.

    Raises:
        RunFolderError: the run has nothing to report yet, or an evaluation's files are not what they were.
    """
    evidence = gather(settings, run)
    if not evidence["rounds"] and not evidence["scores"]:
        raise RunFolderError(f"{run.root} has no finished stage yet; run `evolcoder evolve` or `evolcoder study` first.")
    stage = replace(stage, identity={"version": version("evolcoder"), "evidence": fingerprint(evidence)})
    if stage.state().done:
        return _written(stage.folder, evidence, already_done=True)
    charts = draw(evidence)
    place = stage.begin("figures")
    figures: dict[str, str] = {}
    for name, chart in charts.items():
        figures[name] = _svg(chart)
        place.write_text(f"figures/{name}.svg", figures[name])
        place.write_bytes(f"figures/{name}.png", _png(chart))
    place.write_text("report.json", json.dumps(evidence, indent=1, ensure_ascii=False))
    place.write_text("report.md", render("report.md.j2", evidence, figures))
    place.write_text("report.html", render("report.html.j2", evidence, figures))
    pictures = [f"figures/{name}.{suffix}" for name in charts for suffix in ("svg", "png")]
    stage.publish([*pictures, "report.json", "report.md", "report.html"])
    return _written(place, evidence, already_done=False)


def _written(place: Folder, evidence: Evidence, already_done: bool) -> WrittenReport:
    columns, rows = score_table(evidence)
    paths = [f"{place}/{name}" for name in ("report.html", "report.md", "report.json", "figures")]
    return WrittenReport(paths, columns, rows, already_done)


def score_table(evidence: Evidence) -> tuple[list[str], list[list[object]]]:
    """Our scores as rows of text and numbers, best readable order first: role, then benchmark."""
    columns = ["role", "benchmark", "problems", "style", "n", "pass@1 %", "95 % interval"]
    rows: list[list[object]] = []
    for score in evidence["scores"]:
        low, high = score["interval"]
        rows.append(
            [
                score["role"],
                score["benchmark"],
                score["tasks"],
                score["style"],
                score["samples"],
                round(100 * score["value"], 1),
                f"{100 * low:.1f} to {100 * high:.1f}",
            ]
        )
    return columns, rows


def render(template: str, evidence: Evidence, figures: dict[str, str]) -> str:
    """Fill a template; what models wrote is escaped in HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("evolcoder.study", "."),
        autoescape=template.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}"
    columns, rows = score_table(evidence)
    return environment.get_template(template).render(
        **evidence,
        figures={name: _data_uri(svg) for name, svg in figures.items()},
        score_columns=columns,
        score_rows=rows,
        version=version("evolcoder"),
        written_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _data_uri(svg: str) -> str:
    """As an image, a picture's names and styles cannot touch the page's."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _svg(chart: alt.Chart) -> str:
    import vl_convert

    return str(vl_convert.vegalite_to_svg(chart.to_dict()))


def _png(chart: alt.Chart) -> bytes:
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(chart.to_dict(), scale=_PIXELS_PER_POINT))
