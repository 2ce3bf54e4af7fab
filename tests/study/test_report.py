"""The report over a small finished run, made by hand in the layout that the stages write."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from evolcoder.console import Reporter
from evolcoder.errors import DataError, RunFolderError
from evolcoder.records import COMPLETION_SCHEMA, INSTRUCTION_SCHEMA, VERDICT_SCHEMA, Completion, Instruction, Verdict
from evolcoder.runs import RunFolder
from evolcoder.settings.run import RunSettings
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Stage
from evolcoder.study.figures import NARROW_PIXELS
from evolcoder.study.report import write_report

HOSTILE_TEXT = "</pre><script>alert(1)</script> ```"


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    return RunSettings.model_validate({"name": "made", "storage": str(tmp_path), "evolve": {"rounds": 1}})


def write_rows(folder: Folder, name: str, schema: pa.Schema, rows: list[dict[str, object]]) -> None:
    folder.make()
    with folder.open_output(name) as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def instruction(number: int, root: str, operator: str, status: str = "kept", reason: str | None = None) -> dict[str, object]:
    return Instruction(
        id=f"{root}-{number}",
        round=number,
        parent_id=None,
        root_id=root,
        operator=operator,
        instruction=f"Task {root} {HOSTILE_TEXT}",
        input="",
        response="print(1)",
        teacher="t",
        sampling="{}",
        prompt_tokens=1,
        completion_tokens=1,
        request_keys=[],
        status=status,
        reason=reason,
    ).to_row()


def make_rounds(run: RunFolder) -> None:
    write_rows(run.round(0), "part-0.arrow", INSTRUCTION_SCHEMA, [instruction(0, r, "seed") for r in "ab"])
    write_rows(run.round(1), "part-0.arrow", INSTRUCTION_SCHEMA, [instruction(1, "a", "constraints")])
    write_rows(run.round(1), "rejected-0.arrow", INSTRUCTION_SCHEMA, [instruction(1, "b", "complexity", "eliminated", "empty")])
    for number in (0, 1):
        place = run.round(number)
        Stage("round", place, {}).publish(place.names("*.arrow"))


def make_scores(run: RunFolder, passes: dict[str, list[bool]]) -> None:
    for role, passed in passes.items():
        place = run.evaluation(role, "humaneval")
        tasks = [f"HumanEval/{i}" for i in range(len(passed))]
        answers = [Completion(t, 0, "prompt", HOSTILE_TEXT, "stop", 1, 1).to_row() for t in tasks]
        statuses = ["passed" if ok else "failed" for ok in passed]
        verdicts = [Verdict(t, 0, s, s, None, "", "pass", 0.1, 0.1).to_row() for t, s in zip(tasks, statuses, strict=True)]
        write_rows(place, "completions.arrow", COMPLETION_SCHEMA, answers)
        write_rows(place, "verdicts.arrow", VERDICT_SCHEMA, verdicts)
        value = sum(passed) / len(passed)
        score = {
            "benchmark": "humaneval",
            "benchmark_version": "v",
            "model": role + "-model",
            "style": "base",
            "tasks": len(passed),
            "benchmark_tasks": 164,
            "samples": 1,
            "k": 1,
            "value": value,
            "interval": [value / 2, (1 + value) / 2],
            "interval_method": "Wilson",
            "settings": {},
        }
        place.write_text("score.json", json.dumps(score))
        Stage("evaluate", place, {}).publish(place.names())


def draw(settings: RunSettings, run: RunFolder) -> list[dict[str, Any]]:
    """What the verb shows."""
    stream = io.StringIO()
    drawn = write_report(settings, run, Stage("report", run.report, {}), Reporter("json", stream))
    shown = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert drawn is not already_done(shown)
    return shown


def already_done(shown: list[dict[str, Any]]) -> bool:
    return any("nothing changed since it was drawn" in event.get("text", "") for event in shown)


class Page(HTMLParser):
    """Collects what a browser would fetch, and the scripts and problems it would show."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.scripts = self.problems = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value for name, value in attrs if name in {"src", "srcset", "href"} and value]
        self.scripts += tag == "script"
        self.problems += ("class", "problem") in attrs


def test_a_finished_run_becomes_one_page_that_needs_no_network(settings: RunSettings) -> None:
    run = RunFolder.open(settings)
    make_rounds(run)
    make_scores(run, {"base": [True, False, False], "tuned": [True, True, False]})
    shown = draw(settings, run)
    page = Page(run.report.read_text("report.html"))
    assert page.sources
    assert all(source.startswith("data:") for source in page.sources)
    assert page.problems == 3
    (table,) = (event for event in shown if event["event"] == "table")
    assert [row["pass@1 %"] for row in table["rows"]] == [33.3, 66.7]
    assert shown[-1]["paths"][0].endswith("report/report.html")


def test_a_report_is_drawn_again_only_when_something_changed(settings: RunSettings) -> None:
    run = RunFolder.open(settings)
    make_rounds(run)
    assert not already_done(draw(settings, run))
    assert already_done(draw(settings, run))
    make_scores(run, {"base": [True], "tuned": [True]})
    assert not already_done(draw(settings, run))


def test_what_models_wrote_cannot_run_in_the_page(settings: RunSettings) -> None:
    run = RunFolder.open(settings)
    make_rounds(run)
    make_scores(run, {"base": [True], "tuned": [True]})
    draw(settings, run)
    assert Page(run.report.read_text("report.html")).scripts == 1


def test_json_and_markdown_say_the_same_as_the_page(settings: RunSettings) -> None:
    run = RunFolder.open(settings)
    make_rounds(run)
    make_scores(run, {"base": [True, False, False], "tuned": [False, True, True]})
    draw(settings, run)
    evidence = json.loads(run.report.read_text("report.json"))
    (comparison,) = evidence["comparisons"]
    assert (comparison["gained"], comparison["lost"]) == (["HumanEval/1", "HumanEval/2"], ["HumanEval/0"])
    assert evidence["rounds"][1]["eliminated"] == {"empty": 1}
    markdown = run.report.read_text("report.md")
    assert re.search(r"\| tuned \| humaneval \| 3 \| base \| 1 \| 66.7 \|", markdown)
    assert "| WizardCoder 15B | 57.3 | 51.8 |" in markdown


def test_pictures_are_real_and_drawn_only_of_what_is_there(settings: RunSettings) -> None:
    run = RunFolder.open(settings)
    make_rounds(run)
    draw(settings, run)
    assert run.report.names("figures/*", recursive=True) == ["figures/evolution.png", "figures/evolution.svg"]
    assert run.report.read_bytes("figures/evolution.png").startswith(b"\x89PNG")
    assert "not scored" in run.report.read_text("report.md") or "No model is scored yet" in run.report.read_text("report.md")


def test_on_a_phone_pictures_are_shown_that_need_not_be_made_smaller(settings: RunSettings) -> None:
    """Of 390 pixels a page leaves some 320 to a picture, and letters of 12 pixels are read there without zooming."""
    run = RunFolder.open(settings)
    make_rounds(run)
    make_scores(run, {"base": [True, False], "tuned": [True, True]})
    score = json.loads(run.evaluation("tuned", "humaneval").read_text("score.json"))
    run.evaluation("tuned", "humaneval").write_text("score.json", json.dumps(score | {"model": "a-name-of-100-letters" * 5}))
    Stage("evaluate", run.evaluation("tuned", "humaneval"), {}).publish(run.evaluation("tuned", "humaneval").names("*r*.*"))
    draw(settings, run)
    html = run.report.read_text("report.html")
    narrow = re.findall(r'<source media="\(max-width: 48rem\)" srcset="data:image/svg\+xml;base64,([^"]+)">', html)
    assert len(narrow) == html.count("<figure>") == 2
    for picture in (base64.b64decode(text).decode() for text in narrow):
        (width,) = re.findall(r'<svg[^>]*? width="(\d+)"', picture)
        assert int(width) <= NARROW_PIXELS
        assert min(float(size) for size in re.findall(r'font-size="([\d.]+)', picture)) >= 12


def test_a_study_shows_each_model_by_its_rounds_and_against_the_base_model(settings: RunSettings) -> None:
    study = {"base_rounds": [0], "leave_out": ["constraints"], "seeds": [7]}
    settings = RunSettings.model_validate(settings.model_dump() | {"study": study})
    run = RunFolder.open(settings)
    make_rounds(run)
    for folder in ("0", "1", "without-constraints", "0-seed-7"):
        place = run.train(folder)
        place.write_text("metrics.jsonl", "".join(json.dumps({"step": n, "loss": 1.0}) + "\n" for n in (1, 2)))
        summary = {"rows": 2, "tokens": 20, "steps": 2, "last_loss": 1.0, "seconds": 3.0}
        Stage("train", place, {}).publish(["metrics.jsonl"], summary)
    few, many = [True, *[False] * 7], [True] * 8
    make_scores(run, {"base": few, "tuned": many, "rounds-0": few, "rounds-0-seed-7": [False] * 8})
    draw(settings, run)
    evidence = json.loads(run.report.read_text("report.json"))
    by_model = {variant["model"]: variant for variant in evidence["variants"]}
    assert list(by_model) == ["tuned", "rounds-0", "without-constraints", "rounds-0-seed-7"]
    assert [variant["rounds_from_the_start"] for variant in by_model.values()] == [1, 0, None, 0]
    (against,) = by_model["tuned"]["against_base"]
    assert (against["gained"], against["lost"], against["difference"]) == (7, 0, 7 / 8)
    assert against["p_corrected"] == pytest.approx(3 * 2 / 2**7), "of three comparisons"
    (spread,) = evidence["over_seeds"]
    assert (spread["label"], spread["seeds"], spread["mean"]) == ("rounds 0-0", 2, 1 / 16)
    assert spread["deviation"] == pytest.approx(1 / 8 / 2**0.5)
    assert by_model["without-constraints"]["against_base"] == []
    assert run.report.exists("figures/by_round.svg")
    html = run.report.read_text("report.html")
    assert "rounds 0-1 without constraints" in html
    assert html.count('<div class="card ') == 2, "base and tuned"
    assert "standard deviation of 8.8 points" in html
    assert "+87.5 points" in run.report.read_text("report.md")


def test_scores_of_other_runs_stand_beside_those_of_this_one(settings: RunSettings, tmp_path: Path) -> None:
    other = RunFolder(Folder.open(tmp_path / "other"))
    make_scores(other, {"base": [True, True], "tuned": [True, False]})
    unfinished = other.evaluation("half", "humaneval")
    unfinished.write_text("score.json", "{}")
    one = other.evaluation("tuned", "humaneval")
    here = RunFolder.open(settings)
    make_rounds(here)
    make_scores(here, {"base": [True, False]})

    def shown_with(*beside: str) -> list[tuple[str, float]]:
        chosen = RunSettings.model_validate(settings.model_dump() | {"study": {"beside": beside}})
        (table,) = (event for event in draw(chosen, here) if event["event"] == "table")
        return [(row["role"], row["pass@1 %"]) for row in table["rows"]]

    own = ("base", 50.0)
    assert shown_with(str(tmp_path / "other")) == [
        own,
        ("beside: other/base/humaneval", 100.0),
        ("beside: other/tuned/humaneval", 50.0),
    ]
    assert "another run" in here.report.read_text("figures/scores.svg")
    assert shown_with(str(one)) == [own, ("beside: humaneval", 50.0)]
    assert shown_with() == [own]
    assert "another run" not in here.report.read_text("figures/scores.svg")
    with pytest.raises(DataError, match="which holds no finished evaluation"):
        shown_with(str(tmp_path / "nowhere"))


def test_a_run_without_a_study_says_what_it_said_before_there_were_any(settings: RunSettings) -> None:
    """Or its finished report would be drawn again."""
    run = RunFolder.open(settings)
    make_rounds(run)
    draw(settings, run)
    evidence = json.loads(run.report.read_text("report.json"))
    assert "variants" not in evidence
    assert "study" not in evidence["settings"]


def test_an_empty_run_is_one_sentence(settings: RunSettings) -> None:
    with pytest.raises(RunFolderError, match="no finished stage"):
        draw(settings, RunFolder.open(settings))
