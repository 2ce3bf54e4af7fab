"""The report of a run: one self-contained HTML page, and the same as markdown, JSON and pictures; and the cards of its data
and model.

It shows what is in the run folder when it is written, and says what is not there yet. It computes no scores.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from evolcoder.console import Reporter
from evolcoder.errors import RunFolderError
from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import BASE, TUNED
from evolcoder.settings.run import RunSettings
from evolcoder.settings.section import EMBEDDED
from evolcoder.storage.hashes import fingerprint, stable_hash
from evolcoder.storage.stage import Stage
from evolcoder.study.cards import dataset_card, model_card
from evolcoder.study.evidence.difficulty import MEASURES
from evolcoder.study.evidence.findings import main_comparison, score_of
from evolcoder.study.evidence.gather import Evidence, gather
from evolcoder.study.figures.draw import draw
from evolcoder.study.figures.rounds import picked_round
from evolcoder.study.figures.style import plain_svg, png, with_dark_scheme
from evolcoder.study.filling import filled

_DRAWN_BY = ("figures", "templates", "cards.py", "filling.py", "report.py")
_PACKAGES = ("altair", "vl-convert-python")


def write_report(settings: RunSettings, run: RunFolder, stage: Stage, reporter: Reporter) -> bool:
    """Gather, draw and write a report, and show its scores; False when one that says the same is there already.

    Args:
        stage: the report's place in the run. What decides it is the evidence, and how it is drawn: templates, figures and code.

    Raises:
        RunFolderError: the run has nothing to report yet, or an evaluation's files are not what they were.
    """
    evidence = gather(settings, run)
    if not evidence["rounds"] and not evidence["scores"]:
        raise RunFolderError(f"{run.root} has no finished stage yet; run `evolcoder evolve` or `evolcoder study` first.")
    room = files("evolcoder.study")
    sources = [part for name in _DRAWN_BY for part in ([room / name] if (room / name).is_file() else (room / name).iterdir())]
    texts = [source.read_text("utf-8") for source in sorted(sources, key=lambda one: one.name) if source.is_file()]
    drawing = stable_hash(*texts, *(version(name) for name in _PACKAGES))
    identity = {"version": version("evolcoder"), "evidence": fingerprint(evidence), "drawing": drawing}
    stage = replace(stage, identity=identity)
    drawn = not stage.state().done
    if drawn:
        _write(stage, run, evidence)
    else:
        reporter.say("nothing changed since it was drawn: it is left as it is")
    reporter.say(evidence["findings"]["main"])
    if evidence["scores"]:
        reporter.table("Scores", *score_table(evidence))
    written = [name for name in ("report.html", "report.md", "report.json", "figures", "cards") if stage.folder.exists(name)]
    reporter.finish([f"{stage.folder}/{name}" for name in written])
    return drawn


def _write(stage: Stage, run: RunFolder, evidence: Evidence) -> None:
    place = stage.begin("figures", "cards")
    figures = draw(evidence)
    plain = {name: plain_svg(figure) for name, figure in figures.items()}
    pictures = {name: with_dark_scheme(picture) for name, picture in plain.items()}
    texts = {f"figures/{name}.svg": picture for name, picture in pictures.items()}
    texts["report.json"] = json.dumps(evidence, indent=1, ensure_ascii=False)
    # As an image, the names and styles of a picture cannot touch the page's.
    data = {name: base64.b64encode(picture.encode()).decode() for name, picture in pictures.items()}
    values = _values(evidence) | {"figures": figures}
    values["images"] = {name: f"data:image/svg+xml;base64,{picture}" for name, picture in data.items()}
    texts["report.md"] = filled("report.md.j2", **values)
    texts["report.html"] = filled("report.html.j2", **values)
    if evidence["dataset"]:
        texts["cards/dataset/README.md"] = dataset_card(evidence, run.dataset.read_text("README.md"))
    if any(training["model"] == TUNED for training in evidence["trainings"]):
        texts["cards/model/README.md"] = model_card(evidence)
    for name, text in texts.items():
        place.write_text(name, text)
    for name, picture in plain.items():
        place.write_bytes(f"figures/{name}.png", png(picture))
    stage.publish([*texts, *(f"figures/{name}.png" for name in plain)])


def score_table(evidence: Evidence) -> tuple[list[str], list[list[object]]]:
    """Our scores as rows of text and numbers, best readable order first: role, then benchmark."""
    columns = ["role", "benchmark", "problems", "style", "n", "pass@1 %", "95 % interval"]
    rows: list[list[object]] = []
    for score in evidence["scores"]:
        low, high = (f"{100 * bound:.1f}" for bound in score["interval"])
        counted = [score[key] for key in ("role", "benchmark", "tasks", "style", "samples")]
        rows.append([*counted, round(100 * score["value"], 1), f"{low} to {high}"])
    return columns, rows


def _values(evidence: Evidence) -> dict[str, Any]:
    """What the templates of the report are filled with: the evidence, and what is looked up in it."""
    columns, rows = score_table(evidence)
    main = main_comparison(evidence)
    teacher = evidence["settings"]["teacher"]
    return {
        **evidence,
        "measures": MEASURES,
        "main": main,
        "main_scores": None if main is None else [score_of(evidence, role, main["benchmark"]) for role in (BASE, TUNED)],
        "own_teacher": teacher["base_url"] == EMBEDDED and not teacher["endpoints"],
        "picked": picked_round(evidence),
        "round_rows": _round_rows(evidence),
        "round_numbers": sorted({entry["round"] for entry in evidence["by_round"]}),
        "groups": _groups(evidence),
        "score_columns": columns,
        "score_rows": rows,
        "written_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _round_rows(evidence: Evidence) -> list[dict[str, Any]]:
    """For each benchmark and way of training, the scores by round of the models under the run's own seed."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in evidence["by_round"]:
        if entry["seed"] == evidence["settings"]["train"]["seed"]:
            kind = entry["kind"] + (f", as many {entry['matched']} as the smallest" if entry["matched"] else "")
            about = {"benchmark": entry["benchmark"], "development": entry["development"], "kind": kind, "scores": {}}
            rows.setdefault((entry["benchmark"], kind), about)["scores"][entry["round"]] = entry
    order = list(dict.fromkeys(row["benchmark"] for row in rows.values()))
    return sorted(rows.values(), key=lambda row: (row["development"], order.index(row["benchmark"])))


def _groups(evidence: Evidence) -> dict[str, Any]:
    """Scores by group (the library, the perturbation) of base and tuned: by benchmark, label, group and role."""
    found: dict[str, Any] = {}
    nobody = {BASE: None, TUNED: None}
    for score in evidence["scores"]:
        for label, groups in score.get("groups", {}).items() if score["role"] in (BASE, TUNED) else ():
            for name, group in groups.items():
                of_label = found.setdefault(score["benchmark"], {}).setdefault(label, {})
                of_label[name] = {**of_label.get(name, nobody), score["role"]: group}
    return found
