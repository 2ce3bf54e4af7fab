"""The report over made-up runs, in every state that a run may be in."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from html import escape as html_escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import huggingface_hub
import pytest
from tests.study.made_runs import (
    HOSTILE_TEXT,
    already_done,
    draw_report,
    instruction,
    make_decisions,
    make_round,
    make_rounds,
    make_score,
    make_stopping_study,
    make_study,
    make_trainings,
    outcomes,
    rising_then_falling,
    settings_of,
)

from evolcoder.errors import DataError, RunFolderError
from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import run_variants
from evolcoder.settings.run import RunSettings
from evolcoder.storage.folders import Folder
from evolcoder.study import report
from evolcoder.study.evidence import difficulty, rounds
from evolcoder.study.figures.style import PANEL_PIXELS, SMALLEST_LETTERS


class Page(HTMLParser):
    """Collects what a browser would fetch or run, where links lead, and the pictures without words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.handlers: list[str] = []
        self.scripts = self.problems = self.silent = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.sources += [value for name, value in attrs if name in {"src", "srcset", "poster", "data"} and value]
        self.links += [given["href"] or ""] if "href" in given else []
        self.ids |= {given["id"] or ""} if "id" in given else set()
        self.handlers += [name for name in given if name.startswith("on")]
        self.scripts += tag in {"script", "iframe", "object", "embed", "base"}
        self.problems += ("class", "problem") in attrs
        self.silent += tag == "img" and not given.get("alt")


def page_of(settings: RunSettings) -> Page:
    return Page(RunFolder.open(settings).report.read_text("report.html"))


def evidence_of(settings: RunSettings) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RunFolder.open(settings).report.read_text("report.json"))
    return found


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> RunSettings:
    """A drawn study whose curve rises for two rounds and then falls, and that stopped for it."""
    settings = make_study(tmp_path_factory.mktemp("study"), rising_then_falling, ("humaneval", "mbpp", "mbpp-dev", "ds1000"))
    run = RunFolder.open(settings)
    make_score(run, "tuned", "mbpp", [[n % 2 == 0] for n in range(100)], training="3")
    make_decisions(settings, best=2, after=3)
    draw_report(settings)
    return settings


def test_a_study_becomes_one_page_that_needs_no_network_and_no_script(study: RunSettings) -> None:
    page, run = page_of(study), RunFolder.open(study)
    assert page.sources
    assert all(source.startswith("data:") for source in page.sources)
    assert (page.scripts, page.handlers, page.silent) == (0, [], 0)
    assert page.problems == sum(len(c["problems"]) for c in evidence_of(study)["comparisons"])
    for link in page.links:
        place, _, fragment = link.partition("#")
        assert "://" not in link
        assert place or fragment in page.ids, link
        assert not place or run.report.local_path.joinpath(unquote(place)).exists(), f"{link} leads nowhere"


def test_the_three_questions_are_answered_from_the_numbers(study: RunSettings) -> None:
    found = evidence_of(study)
    main = (
        r"Tuning raised pass@1 on humaneval from [\d.]+ % to [\d.]+ %, \+[\d.]+ points \(95 % interval \+[\d.]+ to \+[\d.]+, p "
    )
    assert re.match(main, found["findings"]["main"])
    assert found["findings"]["rq1"].startswith("The tuned model gained on humaneval")
    assert "on humaneval rounds 0 to 2 give +" in found["findings"]["rq3"]
    assert "GPT-4, the best closed one" in found["findings"]["rq2"]
    benchmarks, kinds = ("humaneval", "mbpp", "mbpp-dev", "ds1000"), ("rounds 0 to k", "round k alone")
    by_round = {(e["benchmark"], e["kind"], e["round"]) for e in found["by_round"]}
    assert by_round == {(name, kind, k) for name in benchmarks for kind in kinds for k in range(4)}
    assert [c["round"] for c in found["against_seeds"]] == [1, 2, 3] * 4
    pictures = {
        "gains",
        "by_round_mbpp-dev",
        "by_round_paper",
        "standing_humaneval",
        "operators",
        "training",
        "data_syntax_nodes",
    }
    names = RunFolder.open(study).report.names("figures/*", recursive=True)
    assert {f"figures/{name}.{suffix}" for name in pictures for suffix in ("svg", "png")} <= set(names)
    html = RunFolder.open(study).report.read_text("report.html")
    assert html.index('id="rq1"') < html.index('id="rq3"') < html.index('id="rq2"') < html.index('id="limits"')
    for said in ("Round 3 shows no gain over round 2.", "mbpp-dev alone chose how many rounds to evolve", "a secondary source"):
        assert said in html


def test_a_flat_curve_claims_nothing(tmp_path: Path) -> None:
    settings = make_study(tmp_path, lambda variant: 0.2, ("humaneval",))
    draw_report(settings)
    found = evidence_of(settings)
    assert found["findings"]["main"].startswith("No difference can be told between base and tuned on humaneval")
    assert found["cost_per_point"] == []
    assert "No gain can be told on a test benchmark" in RunFolder.open(settings).report.read_text("report.html")


def test_a_report_is_drawn_again_when_the_run_or_the_drawing_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(tmp_path, rounds=1)
    make_rounds(settings)
    shown = draw_report(settings)
    assert not already_done(shown)
    places = [path.partition("made/")[2] for path in shown[-1]["paths"]]
    assert places == [f"report/{name}" for name in ("report.html", "report.md", "report.json", "figures", "cards")]
    assert already_done(draw_report(settings))
    make_score(RunFolder.open(settings), "base", "humaneval", [[True], [False]])
    assert not already_done(draw_report(settings))
    assert already_done(draw_report(settings))
    copied = tmp_path / "room"
    for name in report._DRAWN_BY:
        source = Path(report.__file__).parent / name
        for file in source.iterdir() if source.is_dir() else [source]:
            if file.is_file():
                target = copied / file.relative_to(Path(report.__file__).parent)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
    monkeypatch.setattr(report, "files", lambda package: copied)
    assert already_done(draw_report(settings)), "another copy of the same templates"
    (copied / "templates" / "style.css").write_text("body { color: red }")
    assert not already_done(draw_report(settings))


ELSEWHERE = {"base_url": "http://127.0.0.1:9/v1", "model": "teacher"}


@pytest.mark.parametrize(
    ("last", "teacher", "money"),
    [(0, ELSEWHERE, "$0.00"), (1, ELSEWHERE, "no price set"), (1, {}, "no API money"), (0, {}, "$0.00")],
)
def test_a_run_with_nothing_but_evolve_says_what_is_missing(
    tmp_path: Path, last: int, teacher: dict[str, str], money: str
) -> None:
    settings = settings_of(tmp_path, rounds=2, teacher=teacher)
    make_rounds(settings, last=last, usd_per_token=0.0)
    shown = draw_report(settings)
    assert not any(event["event"] == "table" or "cards" in str(event.get("paths")) for event in shown)
    found, run = evidence_of(settings), RunFolder.open(settings)
    assert found["findings"]["main"] == "No model is scored yet, so nothing is known of what evolving did to pass@1."
    assert {"stage": "round 2", "state": "to do"} in found["missing"]
    assert found["cost_totals"]["usd"] == (0 if last == 0 else None), "tokens without a price have no known cost"
    html = run.report.read_text("report.html")
    assert "Not finished" in html
    own = "" if teacher else ", which is the run’s own model"
    assert re.search(rf"<b>{re.escape(money)}</b> for [\d,]+ tokens of the teacher{own}</p>", html)
    assert re.search(rf"Cost: {re.escape(money)} for [\d,]+ tokens of the teacher{own}, ", run.report.read_text("report.md"))
    assert ("the teacher, the run’s own model, costs no API money" in html) == (money == "no API money")
    assert ("or has no price for" in html) == (money == "no price set")
    assert not run.report.exists("cards"), "there is no data set and no model to describe"


def test_a_study_in_the_middle_guesses_nothing(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, study={"base_rounds": [0, 1, 2, 3]}, evaluate={"benchmarks": ["humaneval", "mbpp-dev"]})
    make_rounds(settings)
    make_trainings(settings, run_variants(settings)[0])
    make_score(RunFolder.open(settings), "base", "humaneval", [[True], [False]])
    draw_report(settings)
    found = evidence_of(settings)
    assert found["findings"]["main"].startswith("There is no result yet")
    assert found["findings"]["rq3"].startswith("Not answered yet")
    assert {one["stage"] for one in found["missing"]} >= {"train on rounds 0-2", "evaluate tuned on humaneval"}
    assert found["comparisons"] == []
    assert "No model is trained yet" not in RunFolder.open(settings).report.read_text("report.html")


def test_a_study_that_decided_its_rounds_says_why_and_tells_its_own_model_once(tmp_path: Path) -> None:
    settings = make_stopping_study(tmp_path, rising_then_falling)
    draw_report(settings)
    found, run = evidence_of(settings), RunFolder.open(settings)
    assert [d["best_round"] for d in found["stopping"]["decisions"]] == [0, 1, 2, 2]
    assert {(e["round"], e["development"]) for e in found["by_round"]} == {(k, True) for k in range(4)}
    assert found["findings"]["main"].startswith("There is no result yet"), "a development set tells none"
    assert [t["model"] for t in found["trainings"]] == ["tuned", "rounds-0", "rounds-0-1", "rounds-0-3"]
    assert found["cost_totals"]["trainings"] == 4
    assert [(c["benchmark"], c["round"]) for c in found["against_seeds"]] == [("mbpp-dev", k) for k in (1, 2, 3)]
    assert found["findings"]["rq3"].endswith(found["stopping"]["decisions"][-1]["reason"])
    assert found["over_seeds"] == [], "a model under two names is no second seed"
    html = run.report.read_text("report.html")
    assert "Evol Stop took rounds 0 to 2" in html
    assert "Why it stopped" in html
    for decision in found["stopping"]["decisions"]:
        assert html_escape(decision["reason"]) in html


def test_a_study_that_still_decides_picks_nothing(tmp_path: Path) -> None:
    settings = make_stopping_study(tmp_path, rising_then_falling)
    run = RunFolder.open(settings)
    make_score(run, "rounds-0-2", "mbpp-dev", [[True], [False]], training="2")
    draw_report(settings)
    found = evidence_of(settings)
    assert [d["after_round"] for d in found["stopping"]["decisions"]] == [0, 1], "those of scores that are no more do not count"
    assert {"stage": "what follows from Evol Stop", "state": "it has not ended"} in found["missing"]
    html = run.report.read_text("report.html")
    assert "Evol Stop took" not in html
    assert "Why it goes on" in html


def test_a_stage_whose_settings_changed_is_missing(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, rounds=1)
    make_rounds(settings)
    make_trainings(settings, run_variants(settings)[0])
    place = RunFolder.open(settings).train("1")
    manifest = json.loads(place.read_text("manifest.json"))
    manifest["identity"] = {"learning_rate": 2 * settings.train.learning_rate}
    place.write_text("manifest.json", json.dumps(manifest))
    draw_report(settings)
    missing = evidence_of(settings)["missing"]
    assert {"stage": "train on rounds 0-1", "state": "to do again: learning_rate changed since"} in missing


def test_a_stage_whose_source_changed_is_missing(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, rounds=1)
    make_rounds(settings)
    make_trainings(settings, run_variants(settings)[0])
    make_rounds(settings, seeds=41)
    draw_report(settings)
    assert "to do again: round 0" in next(
        one["state"] for one in evidence_of(settings)["missing"] if one["stage"].startswith("train")
    )


def test_a_single_model_has_no_rounds_to_compare(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, rounds=1)
    make_rounds(settings)
    make_trainings(settings, run_variants(settings)[0], steps=1)
    for role, share, training in (("base", 4, None), ("tuned", 2, "1")):
        make_score(RunFolder.open(settings), role, "humaneval", [[n % share == 0] for n in range(32)], training=training)
    draw_report(settings)
    found = evidence_of(settings)
    assert found["missing"] == []
    assert found["findings"]["rq3"].startswith("Not answered on test sets")
    assert {limit["about"] for limit in found["limits"]} >= {
        "One training seed",
        "Not all problems",
        "Prompt style",
        "One sample",
    }
    assert found["variants"] == found["over_seeds"] == []


def test_what_others_wrote_cannot_run_and_breaks_nothing(tmp_path: Path) -> None:
    """Markup, very long words, text from right to left, names with slashes and bars: in every place."""
    right_to_left = "\u202eمرحبا \u2067שלום"
    hostile = [
        HOSTILE_TEXT,
        right_to_left,
        "W" * 5000,
        "<img src=x onerror=alert(1)>",
        "a | b\n| c\n# d",
        "{{ 7 * 7 }}{% raw %}",
    ]
    teacher = {"base_url": "http://127.0.0.1:9/v1", "model": f"org/a|b<script>alert(1)</script>{'x' * 200}"}
    settings = settings_of(tmp_path, rounds=1, teacher=teacher)
    run = RunFolder.open(settings)
    for number in (0, 1):
        rows = [
            replace(
                instruction(number, f"{n:02d}", "constraints" if number else "seed"),
                instruction=f"{text} {n} {number}",
                response=f"```{text.split()[0] if text.split() else ''}\n{text}\n{'(' * 500}",
            )
            for n, text in enumerate(hostile)
        ]
        make_round(run, number, rows)
    everything = "\n".join(hostile)
    for role, ok in (("base", True), ("tuned", False)):
        make_score(run, role, "humaneval", [[ok]] * 3, answer=everything, model=f"{everything}/{role}", warnings=hostile)
    draw_report(settings)
    page = page_of(settings)
    assert (page.scripts, page.handlers) == (0, [])
    assert "{{ 7 * 7 }}" in run.report.read_text("report.html")
    assert "Content-Security-Policy" in run.report.read_text("report.html")
    markdown = run.report.read_text("report.md")
    assert "<script" not in markdown
    assert all(line.count("|") - line.count("\\|") in (0, 8) for line in markdown.splitlines() if "| base |" in line)


def test_two_hundred_models_fit_one_page(tmp_path: Path) -> None:
    seeds = list(range(1, 26))
    settings = settings_of(tmp_path, study={"base_rounds": [0, 1, 2, 3], "alone": True, "seeds": seeds})
    make_rounds(settings)
    run, variants = RunFolder.open(settings), run_variants(settings)
    assert len(variants) == 7 * 26
    hardness = [random.Random(n).random() for n in range(20)]
    make_trainings(settings, *variants, steps=3)
    for variant in variants:
        make_score(
            run, variant.name, "humaneval", outcomes(0.3, 20, random.Random(variant.name), hardness), training=variant.folder
        )
    make_score(run, "base", "humaneval", outcomes(0.3, 20, random.Random(1), hardness))
    draw_report(settings)
    assert len(run.report.read_bytes("report.html")) < 2_000_000
    assert run.report.read_text("figures/training.svg").count("<path") < 1000
    assert "other models" in run.report.read_text("figures/training.svg")
    (spread, *_) = (one for one in evidence_of(settings)["over_seeds"] if one["label"] == "rounds 0-3")
    assert spread["seeds"] == 26
    assert spread["against_seeds"]["seeds"] == [26, 26]


def test_pictures_are_as_wide_as_a_phone_allows_and_have_a_dark_scheme(study: RunSettings) -> None:
    """Of 390 pixels a page leaves some 320 to a picture, and letters of 12 pixels are read there without zooming."""
    report_folder = RunFolder.open(study).report
    names = [name for name in report_folder.names("figures/*", recursive=True) if name.endswith(".svg")]
    assert len(names) >= 15
    for name in names:
        picture = report_folder.read_text(name)
        (width,) = re.findall(r'<svg[^>]*? width="([\d.]+)"', picture)
        assert float(width) <= PANEL_PIXELS, name
        assert min(float(size) for size in re.findall(r'font-size="([\d.]+)', picture)) >= SMALLEST_LETTERS, name
        light = set(re.findall(r'(?:fill|stroke)="(#[0-9a-f]{6})"', picture.partition("</style>")[2]))
        assert light <= set(re.findall(r'="(#[0-9a-f]{6})"\]', picture)), f"{name}: each colour has one for the dark"
    assert report_folder.read_bytes("figures/gains.png").startswith(b"\x89PNG")


def test_several_samples_of_a_problem_are_permuted(tmp_path: Path) -> None:
    """Also where each problem's samples fared alike; against the base model, the seeds alone, and base against tuned."""
    settings = settings_of(tmp_path, rounds=1, study={"base_rounds": [0]})
    make_rounds(settings)
    run, variants = RunFolder.open(settings), {variant.name: variant for variant in run_variants(settings)}
    make_trainings(settings, *variants.values())
    make_score(run, "base", "humaneval", [[False] * 4] * 6)
    make_score(run, "tuned", "humaneval", [[True] * 4] * 5 + [[False] * 4], training=variants["tuned"].folder)
    make_score(run, "rounds-0", "humaneval", [[False] * 4] * 6, training=variants["rounds-0"].folder)
    draw_report(settings)
    found = evidence_of(settings)
    compared = [*found["comparisons"], *found["against_seeds"], *(one["against_base"][0] for one in found["variants"])]
    assert [one["test"] for one in compared] == ["paired permutation, exact"] * 4
    assert "paired permutation, exact" in run.report.read_text("report.html")
    assert {score["interval_method"] for score in found["scores"]} == {"Wilson over tasks"}


def test_json_and_markdown_say_the_same_as_the_page(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, rounds=1)
    make_rounds(settings)
    run = RunFolder.open(settings)
    make_score(run, "base", "humaneval", [[True], [False], [False]])
    make_score(run, "tuned", "humaneval", [[False], [True], [True]])
    draw_report(settings)
    (comparison,) = evidence_of(settings)["comparisons"]
    assert (comparison["gained"], comparison["lost"]) == (["HumanEval/1", "HumanEval/2"], ["HumanEval/0"])
    assert {p["task_id"]: p["kind"] for p in comparison["problems"]} == {
        "HumanEval/0": "lost",
        "HumanEval/1": "gained",
        "HumanEval/2": "gained",
    }
    markdown = run.report.read_text("report.md")
    assert re.search(r"\| tuned \| humaneval \| 3 \| wizardcoder \| 1 \| 66.7 \|", markdown)
    assert "| WizardCoder 15B | open | 57.3 | 51.8 | 32.8 |" in markdown
    assert "humaneval gained: HumanEval/1, HumanEval/2." in markdown
    for sentence in evidence_of(settings)["findings"].values():
        assert sentence.replace("'", "&#39;").replace("<", "&lt;") in run.report.read_text("report.html")
        assert sentence.replace("<", "&lt;") in markdown


def test_rounds_say_what_evolution_did(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, rounds=1)
    run = RunFolder.open(settings)
    make_round(run, 0, [instruction(0, root, "seed") for root in "abc"])
    rows = [
        instruction(1, "a", "constraints"),
        instruction(1, "b", "complexity", "eliminated", "contaminated"),
        instruction(1, "c", "complexity", "eliminated", "empty"),
    ]
    make_round(run, 1, rows, usd_per_token=0.001)
    draw_report(settings)
    seeds, first = evidence_of(settings)["rounds"]
    assert first["eliminated"] == {"contaminated": 1, "empty": 1}
    assert first["operators"][0] == {
        "operator": "complexity",
        "rows": 2,
        "kept": 0,
        "eliminated": {"contaminated": 1, "empty": 1},
    }
    assert first["contamination"]["by_benchmark"] == {"humaneval": 1}
    assert first["languages"] == {"python": 1}
    assert (first["measures"]["instruction_words"]["rows"], seeds["measures"]["instruction_words"]["rows"]) == (1, 3)
    assert first["measures"]["requirement_words"]["value"] > seeds["measures"]["requirement_words"]["value"]
    assert first["measures"]["syntax_nodes"]["value"] > seeds["measures"]["syntax_nodes"]["value"]
    assert evidence_of(settings)["cost_totals"]["usd"] == pytest.approx(3 * 260 * 0.001)
    assert {cost["stage"]: cost["seconds"] for cost in evidence_of(settings)["costs"]} == {"round 0": None, "round 1": 60.0}
    families = evidence_of(settings)["lineages"]
    assert [[row["round"] for row in family] for family in families] == [[0, 1]] * 3


def test_rows_are_read_once_for_all_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(tmp_path, rounds=1)
    make_rounds(settings)
    read: list[str] = []

    def counted(*texts: str) -> difficulty.Measured:
        read.append(texts[0])
        return difficulty.measured(*texts)

    monkeypatch.setattr(rounds, "measured", counted)
    draw_report(settings)
    first, rows = evidence_of(settings)["rounds"], len(read)
    make_score(RunFolder.open(settings), "base", "humaneval", [[True]])
    draw_report(settings)
    assert (evidence_of(settings)["rounds"], len(read)) == (first, rows)
    make_rounds(settings, seeds=41)
    draw_report(settings)
    assert len(read) > 2 * rows
    RunFolder.open(settings).report.write_text("report.json", "{")
    draw_report(settings)
    assert len(read) > 3 * rows, "a report that was changed is no source"


def test_libraries_of_ds1000_stand_beside_each_other(study: RunSettings) -> None:
    markdown = RunFolder.open(study).report.read_text("report.md")
    assert re.search(r"\| library \| Matplotlib \| 155 \| [\d.]+ \([\d.]+ to [\d.]+\) \| [\d.]+ \(", markdown)
    assert RunFolder.open(study).report.exists("figures/libraries_ds1000.svg")


def test_links_lead_to_the_explorer_when_it_is_there(tmp_path: Path) -> None:
    settings = make_study(tmp_path, rising_then_falling, ("humaneval",), problems=20)
    draw_report(settings)
    assert not any("explore" in link for link in page_of(settings).links)
    RunFolder.open(settings).root.write_text("explore/index.html", "")
    assert not already_done(draw_report(settings))
    links = page_of(settings).links
    assert any(re.fullmatch(r"\.\./explore/index\.html#/problem/humaneval/HumanEval/\d+", link) for link in links)
    assert "../explore/index.html#/compare/humaneval?first=base&second=tuned&show=gained" in links
    assert "../explore/index.html#/family/000000" in links
    assert "../explore/index.html#/row/000000-0" in links


def test_a_study_compares_each_model_with_the_base_model(tmp_path: Path) -> None:
    study = {"base_rounds": [0], "leave_out": ["constraints"], "seeds": [7]}
    settings = settings_of(tmp_path, rounds=1, study=study)
    make_rounds(settings)
    run = RunFolder.open(settings)
    variants = {variant.name: variant for variant in run_variants(settings)}
    trained = ["tuned", "rounds-0", "without-constraints", "rounds-0-seed-7"]
    make_trainings(settings, *(variants[name] for name in trained))
    few, many = [[True], *[[False]] * 7], [[True]] * 8
    for role, passed in {"base": few, "tuned": many, "rounds-0": few, "rounds-0-seed-7": [[False]] * 8}.items():
        make_score(run, role, "humaneval", passed, training=None if role == "base" else variants[role].folder)
    draw_report(settings)
    found = evidence_of(settings)
    by_model = {variant["model"]: variant for variant in found["variants"]}
    assert list(by_model) == trained
    assert [variant["rounds_from_the_start"] for variant in by_model.values()] == [1, 0, None, 0]
    (against,) = by_model["tuned"]["against_base"]
    assert (against["gained"], against["lost"], against["difference"]) == (7, 0, 7 / 8)
    assert against["p_corrected"] == pytest.approx(3 * 2 / 2**7), "of three comparisons"
    (spread,) = found["over_seeds"]
    assert (spread["label"], spread["seeds"], spread["mean"]) == ("round 0", 2, 1 / 16)
    assert by_model["without-constraints"]["against_base"] == []
    assert run.report.exists("figures/by_round_humaneval.svg")
    assert "rounds 0-1 without constraints" in run.report.read_text("report.html")
    assert "+87.5 points" in run.report.read_text("report.md")


def test_scores_of_other_runs_stand_beside_those_of_this_one(tmp_path: Path) -> None:
    other = RunFolder(Folder.open(tmp_path / "other"))
    make_score(other, "base", "humaneval", [[True], [True]])
    make_score(other, "tuned", "humaneval", [[True], [False]])
    unfinished = other.evaluation("half", "humaneval")
    unfinished.write_text("score.json", "{}")
    one = other.evaluation("tuned", "humaneval")
    settings = settings_of(tmp_path, rounds=1)
    make_rounds(settings)
    here = RunFolder.open(settings)
    make_score(here, "base", "humaneval", [[True], [False]])

    def shown_with(*beside: str) -> list[tuple[str, float]]:
        chosen = RunSettings.model_validate(settings.model_dump() | {"study": {"beside": beside}})
        (table,) = (event for event in draw_report(chosen) if event["event"] == "table")
        return [(row["role"], row["pass@1 %"]) for row in table["rows"]]

    own = ("base", 50.0)
    assert shown_with(str(tmp_path / "other")) == [
        own,
        ("beside: other/base/humaneval", 100.0),
        ("beside: other/tuned/humaneval", 50.0),
    ]
    assert "this run and others" in here.report.read_text("figures/standing_humaneval.svg")
    assert shown_with(str(one)) == [own, ("beside: humaneval", 50.0)]
    assert shown_with() == [own]
    assert "and others" not in here.report.read_text("figures/standing_humaneval.svg")
    with pytest.raises(DataError, match="which holds no finished evaluation"):
        shown_with(str(tmp_path / "nowhere"))


def test_cards_are_in_the_hubs_format_with_the_figures_of_the_study(study: RunSettings) -> None:
    run, found = RunFolder.open(study), evidence_of(study)
    values = {s["benchmark"]: s["value"] for s in found["scores"] if s["role"] == "tuned"}
    card = huggingface_hub.ModelCard(run.report.read_text("cards/model/README.md"))
    results = {one.dataset_type: (one.dataset_name, one.metric_type, one.metric_value) for one in card.data.eval_results}
    assert results == {
        "openai/openai_humaneval": ("humaneval", "pass@1", round(100 * values["humaneval"], 1)),
        "xlangai/DS-1000": ("ds1000", "pass@1", round(100 * values["ds1000"], 1)),
    }, "of whole test benchmarks alone"
    assert card.data.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert "100 of 500" in card.text
    for heading in ("How it was made", "Contamination", "Limits", "Licence", "Rebuild"):
        assert f"## {heading}\n" in card.text
    own_card, data_card = run.dataset.read_text("README.md"), run.report.read_text("cards/dataset/README.md")
    assert data_card.startswith(own_card.rstrip("\n")), "what the data set says of itself stays"
    assert huggingface_hub.DatasetCard(data_card).data.to_dict() == huggingface_hub.DatasetCard(own_card).data.to_dict()
    for heading in ("What training on it did", "What each round did to the rows", "Limits", "Rebuild"):
        assert f"## {heading}\n" in data_card
    assert found["findings"]["rq1"] in data_card


def test_cards_name_no_folder_of_this_machine(tmp_path: Path) -> None:
    sections = {
        "train": {"base_model": "/home/me/models/base"},
        "seeds": {"path": "/home/me/tasks.json"},
        "teacher": {"base_url": "http://127.0.0.1:9/v1", "model": "/home/me/models/teacher"},
    }
    settings = settings_of(tmp_path, rounds=1, **sections)
    make_rounds(settings)
    make_trainings(settings, run_variants(settings)[0])
    draw_report(settings)
    for card in ("dataset", "model"):
        assert "/home/me" not in RunFolder.open(settings).report.read_text(f"cards/{card}/README.md")


@pytest.mark.parametrize(
    "file",
    [
        "rounds/01/part-00000.arrow",
        "train/1/metrics.jsonl",
        "dataset/README.md",
        "evol_stop/decisions.json",
        "evaluate/base/humaneval/score.json",
    ],
)
def test_files_that_are_not_what_they_were_are_no_evidence(tmp_path: Path, file: str) -> None:
    settings = settings_of(tmp_path, rounds=1)
    make_rounds(settings)
    make_trainings(settings, run_variants(settings)[0])
    make_score(RunFolder.open(settings), "base", "humaneval", [[True]])
    make_decisions(settings, best=1, after=1)
    root = RunFolder.open(settings).root
    root.write_bytes(file, root.read_bytes(file)[:-5])
    with pytest.raises(RunFolderError, match=f"{Path(file).name} is missing or changed on disk; run the verb"):
        draw_report(settings)


def test_an_empty_run_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no finished stage"):
        draw_report(settings_of(tmp_path))
