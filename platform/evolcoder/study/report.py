"""The report of a run: one self-contained HTML page, and the same as markdown, JSON and pictures.

It shows what is in the run folder when it is written, and says what is not there yet. It computes no scores.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version

import jinja2
import vl_convert

from evolcoder.console import Reporter
from evolcoder.errors import RunFolderError
from evolcoder.runs import RunFolder
from evolcoder.settings.run import RunSettings
from evolcoder.storage.hashes import fingerprint
from evolcoder.storage.stage import Stage
from evolcoder.study.evidence import Evidence, gather
from evolcoder.study.figures import draw

_PIXELS_PER_POINT = 2


def write_report(settings: RunSettings, run: RunFolder, stage: Stage, reporter: Reporter) -> bool:
    """Gather, draw and write a report, and show its scores; False when one that says the same is there already.

    Args:
        stage: the report's place in the run. What decides it is the evidence.

    Raises:
        RunFolderError: the run has nothing to report yet, or an evaluation's files are not what they were.
    """
    evidence = gather(settings, run)
    if not evidence["rounds"] and not evidence["scores"]:
        raise RunFolderError(f"{run.root} has no finished stage yet; run `evolcoder evolve` or `evolcoder study` first.")
    stage = replace(stage, identity={"version": version("evolcoder"), "evidence": fingerprint(evidence)})
    drawn = not stage.state().done
    if drawn:
        _write(stage, evidence)
    else:
        reporter.say("nothing changed since it was drawn: it is left as it is")
    reporter.table("Scores", *score_table(evidence))
    reporter.finish([f"{stage.folder}/{name}" for name in ("report.html", "report.md", "report.json", "figures")])
    return drawn


def _write(stage: Stage, evidence: Evidence) -> None:
    place = stage.begin("figures")
    figures: dict[str, str] = {}
    narrow = {name: vl_convert.vegalite_to_svg(chart.to_dict()) for name, chart in draw(evidence, narrow=True).items()}
    for name, chart in draw(evidence).items():
        figures[name] = vl_convert.vegalite_to_svg(chart.to_dict())
        place.write_text(f"figures/{name}.svg", figures[name])
        place.write_bytes(f"figures/{name}.png", vl_convert.vegalite_to_png(chart.to_dict(), scale=_PIXELS_PER_POINT))
    place.write_text("report.json", json.dumps(evidence, indent=1, ensure_ascii=False))
    place.write_text("report.md", render("report.md.j2", evidence, figures, narrow))
    place.write_text("report.html", render("report.html.j2", evidence, figures, narrow))
    pictures = [f"figures/{name}.{suffix}" for name in figures for suffix in ("svg", "png")]
    stage.publish([*pictures, "report.json", "report.md", "report.html"])


def score_table(evidence: Evidence) -> tuple[list[str], list[list[object]]]:
    """Our scores as rows of text and numbers, best readable order first: role, then benchmark."""
    columns = ["role", "benchmark", "problems", "style", "n", "pass@1 %", "95 % interval"]
    rows: list[list[object]] = []
    for score in evidence["scores"]:
        low, high = (f"{100 * bound:.1f}" for bound in score["interval"])
        counted = [score[key] for key in ("role", "benchmark", "tasks", "style", "samples")]
        rows.append([*counted, round(100 * score["value"], 1), f"{low} to {high}"])
    return columns, rows


def render(template: str, evidence: Evidence, figures: dict[str, str], narrow_figures: dict[str, str]) -> str:
    """Fill a template; what models wrote is escaped in HTML. ``narrow_figures`` are those for a phone."""
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
        **{"variants": [], "over_seeds": [], **evidence},
        figures=_images(figures),
        narrow_figures=_images(narrow_figures),
        score_columns=columns,
        score_rows=rows,
        version=version("evolcoder"),
        written_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _images(figures: dict[str, str]) -> dict[str, str]:
    """As images, the names and styles of pictures cannot touch the page's."""
    return {name: f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}" for name, svg in figures.items()}
