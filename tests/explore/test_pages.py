"""The pages in a real browser: what they show, by whatever link one comes, and that nothing in them can run or leave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.explore.made import (
    HOSTILE,
    ODD_ROOT,
    instruction,
    made_settings,
    make_run,
    quiet,
    served,
    write_evaluation,
    write_round,
)

from evolcoder.explore.build import make_pages
from evolcoder.explore.words import words_of
from evolcoder.storage.folders import Folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
Open = Callable[..., "Page"]
KNOWN = st.characters(exclude_categories=["Cs", "Cn"])
"""A browser may know letters of a later Unicode than Python."""

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
ODD = "Odd/../<b> &?#%25 5"
VIEWS = [
    "",
    "#/rows",
    "#/rows?q=sort&responses=1&page=1",
    "#/row/a-1",
    "#/row/b-1",
    "#/row/c-0",
    "#/family/a",
    "#/eliminated",
    "#/problems",
    "#/problems/humaneval?model=tuned&verdict=passed",
    "#/problem/humaneval/HumanEval/0",
    f"#/problem/humaneval/{quote(ODD)}",
    "#/compare/humaneval?first=base&second=tuned&show=gained",
    *(f"#/row/hostile{number:02d}-0" for number in range(len(HOSTILE))),
]

NOT_THERE = [
    "#/family/..%2f..",
    "#/problem/humaneval/none",
    "#/problem/../../etc/passwd",
    "#/problems/none",
    "#/compare/<b>",
    "#/constructor",
    "#/__proto__/x",
    "#/row/%ff",
    "#/problem",
    "#/row",
]


def text_of(page: Page, selector: str = "main") -> str:
    return page.locator(selector).inner_text()


def titles(page: Page) -> list[str]:
    return page.locator(".hit h2").all_inner_texts()


def visit(page: Page, fragment: str) -> None:
    """Go there as by a link, and wait until another view stands there."""
    page.evaluate("fragment => { document.querySelector('h1').remove(); location.hash = fragment; }", fragment)
    page.wait_for_selector("h1")


def test_the_first_view_shows_what_the_run_holds(open_page: Open, address: str) -> None:
    page = open_page(address)
    assert page.title() == "Overview · made"
    assert page.locator("h1").inner_text() == "made"
    cells = page.locator("table").first.locator("tbody tr").nth(1).locator("th, td").all_inner_texts()
    assert cells == ["1", "1", "1"]
    assert "tuned" in text_of(page)
    assert "60.0 %" in text_of(page)


def test_a_search_finds_rows_as_it_is_typed_and_its_address_finds_them_again(open_page: Open, address: str) -> None:
    page = open_page(f"{address}#/rows")
    assert "18 rows" in text_of(page, "[role=status]")
    page.get_by_label("Words").fill("SORT numb")
    page.get_by_text("3 rows, by family").wait_for()
    assert titles(page) == ["Seed", "Round 1: constraints", "Seed"]
    assert page.locator("mark").all_inner_texts()[:2] == ["Sort", "numb"]
    assert page.url.endswith("#/rows?q=SORT+numb")
    again = open_page(page.url)
    assert titles(again) == ["Seed", "Round 1: constraints", "Seed"]
    assert again.get_by_label("Words").input_value() == "SORT numb"


def test_responses_are_searched_by_choice(open_page: Open, address: str) -> None:
    page = open_page(f"{address}#/rows?q=print")
    assert "No row holds all of this." in text_of(page)
    page.get_by_label("Look in responses too").check()
    page.get_by_text("5 rows, by family").wait_for()
    assert "Response: " in text_of(page, ".hit >> nth=0")


@pytest.mark.parametrize(
    ("choices", "found"),
    [
        ({"Round": "1"}, ["Round 1: constraints"] * 2),
        ({"Operator": "constraints", "Kept or eliminated": "kept"}, ["Round 1: constraints"]),
        ({"Reason": "duplicate"}, ["Seed"]),
        ({"Language": "JavaScript"}, ["Seed", "Seed"]),
        ({"Language": "JavaScript", "Round": "2"}, []),
    ],
)
def test_filters_narrow_the_rows_together(open_page: Open, address: str, choices: dict[str, str], found: list[str]) -> None:
    page = open_page(f"{address}#/rows")
    for label, value in choices.items():
        page.get_by_label(label, exact=True).select_option(value)
    page.wait_for_function("expected => document.querySelectorAll('.hit').length === expected", arg=len(found))
    assert titles(page) == found
    assert titles(open_page(page.url)) == found


def test_the_back_button_goes_back_over_filters_rows_and_words(open_page: Open, address: str) -> None:
    page = open_page(address)
    page.get_by_role("link", name="Instructions").click()
    page.get_by_label("Words").fill("sort")
    page.get_by_text("4 rows").wait_for()
    page.get_by_label("Round", exact=True).select_option("1")
    page.get_by_text("1 row,").wait_for()
    page.locator(".hit h2 a").click()
    page.get_by_role("heading", level=1, name="Round 1: constraints").wait_for()
    page.go_back()
    page.get_by_text("1 row,").wait_for()
    assert page.get_by_label("Words").input_value() == "sort"
    page.go_back()
    page.get_by_text("4 rows").wait_for()
    assert page.get_by_label("Round", exact=True).input_value() == ""
    page.go_back()
    page.get_by_role("heading", level=1, name="made").wait_for()
    page.go_forward()
    page.get_by_text("4 rows").wait_for()


def test_a_family_is_walked_from_its_seed_with_the_differences_marked(open_page: Open, address: str) -> None:
    page = open_page(f"{address}#/family/a")
    assert page.locator(".steps h2").all_inner_texts() == ["Seed", "Round 1: constraints", "Round 2: constraints"]
    step = page.locator(".steps > li").nth(1)
    assert "".join(step.locator("ins").all_inner_texts()) == " in place, without the built-in sort."
    assert "Input: [31, 17, 22]" in step.locator("del").inner_text()
    page.get_by_label("Mark what changed").uncheck()
    assert step.locator(".difference").inner_text() == "Sort a list of numbers in place, without the built-in sort."
    page.get_by_role("link", name="Next family").click()
    page.wait_for_url("**/family/b")


def test_an_eliminated_row_shows_the_row_that_it_repeats(open_page: Open, address: str) -> None:
    page = open_page(f"{address}#/eliminated")
    row = page.get_by_role("row", name="duplicate An earlier row says the same, or nearly.")
    assert row.locator("td").all_inner_texts() == ["1", "1", "–", "–"]
    row.get_by_role("link", name="duplicate").click()
    page.get_by_text("Says nearly the same (91 % alike) as").wait_for()
    page.locator(".hit h2 a").click()
    page.get_by_role("heading", name="Why it was eliminated").wait_for()
    assert page.locator("details[open] del").all_inner_texts()[0].startswith("numbers")
    page.get_by_role("link", name="row a-0").click()
    page.wait_for_url("**/row/a-0")


def test_a_contaminated_row_leads_to_the_problem_and_back(open_page: Open, address: str) -> None:
    page = open_page(f"{address}#/row/b-1")
    assert "Holds humaneval HumanEval/10, found by the rule “exact”" in text_of(page)
    page.get_by_role("link", name="What models answered to HumanEval/10").click()
    page.get_by_role("heading", level=1, name="HumanEval/10").wait_for()
    page.get_by_role("link", name="Rows that held this problem").click()
    page.get_by_text("1 row, by family").wait_for()
    assert "Only rows that hold humaneval HumanEval/10" in text_of(page)


def test_a_problem_shows_prompt_answer_program_and_verdict_of_every_model(open_page: Open, address: str) -> None:
    page = open_page(f"{address}#/problem/humaneval/HumanEval/1")
    sides = page.locator(".side")
    assert sides.locator("h2").all_inner_texts() == ["base passed", "tuned passed", "rounds-0 failed"]
    assert page.locator("main > pre").inner_text() == "Solve HumanEval/1"
    shown = sides.first.locator("pre").all_inner_texts()
    assert shown[:2] == ["passed\ndetail", "program of HumanEval/1"]
    assert "<script>window.ran = 1</script>" in shown[2]
    page.get_by_role("link", name="Next: HumanEval/2").click()
    page.wait_for_url("**/problem/humaneval/HumanEval/2")


@pytest.mark.parametrize(
    ("show", "tasks"),
    [
        ("gained", ["HumanEval/0", "HumanEval/2"]),
        ("lost", []),
        ("both", ["HumanEval/1"]),
        ("neither", ["HumanEval/10", ODD]),
    ],
)
def test_two_models_side_by_side_filtered_by_what_flipped(open_page: Open, address: str, show: str, tasks: list[str]) -> None:
    page = open_page(f"{address}#/compare/humaneval?first=base&second=tuned")
    choices = page.get_by_role("navigation", name="Which problems to show")
    assert choices.locator("a").all_inner_texts() == ["all 5", "gained 2", "lost 0", "both 1", "neither 2"]
    choices.get_by_role("link", name=show).click()
    page.wait_for_function("expected => document.querySelectorAll('tbody tr').length === expected", arg=len(tasks))
    assert page.locator("tbody th").all_inner_texts() == tasks
    if tasks:
        page.locator("tbody th a").first.click()
        page.wait_for_url("**/problem/**")
        page.locator(".side").nth(1).wait_for()
        assert page.locator(".side").count() == 2
        page.get_by_role("link", name="Back to the comparison").click()
        page.wait_for_function("expected => document.querySelectorAll('tbody tr').length === expected", arg=len(tasks))
        assert page.locator("tbody th").all_inner_texts() == tasks


def test_problems_are_listed_by_verdict_and_by_name(open_page: Open, address: str) -> None:
    page = open_page(f"{address}#/problems/humaneval")
    page.get_by_label("Model").select_option("rounds-0")
    page.get_by_label("Its verdict").select_option("passed")
    page.get_by_text("1 problem", exact=True).wait_for()
    assert page.locator("tbody th").all_inner_texts() == ["HumanEval/10"]
    page.get_by_label("Its verdict").select_option("")
    page.get_by_label("Problem", exact=True).fill("odd")
    page.get_by_label("Problem", exact=True).press("Enter")
    page.get_by_text("1 problem", exact=True).wait_for()
    assert page.locator("tbody th").all_inner_texts() == [ODD]


@pytest.mark.parametrize("page_number", ["0", "-3", "99999", "x", "1e9"])
def test_a_page_that_is_not_there_is_the_nearest_one(open_page: Open, address: str, page_number: str) -> None:
    page = open_page(f"{address}#/compare/humaneval?first=base&second=tuned&page={page_number}")
    assert page.locator("tbody tr").count() == 5
    visit(page, f"#/rows?q=sort&page={page_number}")
    assert page.locator(".hit").count() == 4


def test_several_samples_are_counted_and_shown_one_at_a_time(open_page: Open, tmp_path: Path) -> None:
    settings = made_settings(str(tmp_path / "runs"))
    run = make_run(settings)
    several = {"HumanEval/0": ["failed", "passed", "passed"], "HumanEval/1": ["failed"] * 3}
    write_evaluation(run.evaluation("tuned", "humaneval"), several, "try")
    write_evaluation(run.evaluation("base", "humaneval"), {task: ["passed", "failed", "failed"] for task in several}, "try")
    site = Folder.open(tmp_path / "site")
    make_pages(settings, run, site, quiet())
    with served(site) as base:
        page = open_page(f"{base}#/compare/humaneval?first=base&second=tuned&show=gained")
        assert page.locator("tbody tr").inner_text().split("\t") == ["HumanEval/0", "1 of 3 passed", "2 of 3 passed"]
        page.get_by_role("link", name="HumanEval/0").click()
        page.get_by_label("Sample").select_option("3")
        page.wait_for_url("**sample=3**")
        page.get_by_text("try 2").first.wait_for()
        assert page.locator(".side h2").all_inner_texts() == ["base failed", "tuned passed"]


def test_nothing_that_a_model_wrote_runs_and_nothing_is_too_wide_for_a_phone(open_page: Open, address: str) -> None:
    page = open_page(address, **PHONE)
    for view in VIEWS:
        visit(page, view or "#/")
        assert page.locator("h1").inner_text() not in ("Nothing here", "This cannot be shown"), view
        assert page.evaluate("window.ran") is None, view
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 390, view
        assert page.locator("main script, main img, main iframe, main svg").count() == 0, view


def test_hostile_text_is_shown_as_it_was_written(open_page: Open, address: str) -> None:
    page = open_page(address)
    for number, text in enumerate(HOSTILE):
        visit(page, f"#/row/hostile{number:02d}-0")
        assert page.locator("main > pre").first.evaluate("element => element.textContent") == text


def test_odd_ids_have_addresses_too(open_page: Open, address: str) -> None:
    page = open_page(address)
    visit(page, page.evaluate("id => route(['family', id])", ODD_ROOT))
    page.locator(".steps h2 a").click()
    page.get_by_role("heading", level=1, name="Seed").wait_for()
    assert page.locator("dd").first.inner_text() == f"{ODD_ROOT}-0"


def test_a_link_to_what_is_not_there_says_so(open_page: Open, address: str) -> None:
    page = open_page(f"{address}#/row/none")
    for fragment in NOT_THERE:
        visit(page, fragment)
        assert page.locator("h1").inner_text() == "Nothing here", fragment
    page.get_by_role("link", name="Go to the overview").click()
    page.get_by_role("heading", level=1, name="made").wait_for()


def test_a_policy_and_not_only_care_keeps_scripts_from_running(browser: Browser, pages: Folder) -> None:
    """Even a page that put text in as HTML would run none of it: the browser refuses."""
    with served(pages) as base:
        page = browser.new_page()
        refused: list[str] = []
        page.on("console", lambda message: refused.append(message.text))
        page.goto(base)
        page.wait_for_selector("h1")
        with pytest.raises(Exception, match="TrustedHTML"):
            page.evaluate("document.body.innerHTML = '<img src=x onerror=\"window.ran = 1\">'")
        page.evaluate(
            "() => { const s = document.createElement('script'); s.append('window.ran = 2'); document.body.append(s); }"
        )
        page.evaluate("() => { const i = new Image(); i.src = 'http://198.51.100.1/x.png'; document.body.append(i); }")
        page.wait_for_timeout(300)
        assert page.evaluate("window.ran") is None
        assert any("198.51.100.1" in text for text in refused)
        page.close()


def test_another_site_cannot_read_the_run_by_its_scripts(browser: Browser, pages: Folder) -> None:
    with served(pages) as base, served(pages) as other:
        page = browser.new_page()
        elsewhere = other.replace("127.0.0.1", "localhost")
        page.route(f"{elsewhere}**", lambda route: route.fulfill(content_type="text/html", body="<h1>other</h1>"))
        page.goto(elsewhere)
        page.evaluate(
            """address => new Promise(done => {
                window.explorerShard = () => { window.read = true; };
                const script = document.createElement('script');
                script.onload = script.onerror = done;
                script.src = address;
                document.head.append(script);
            })""",
            f"{base}data/run.js",
        )
        assert page.evaluate("window.read") is None
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_stand_out_from_what_is_behind_them(open_page: Open, address: str, scheme: str) -> None:
    """Contrast of at least 4.5 to 1 (WCAG 2.2, 1.4.3) for every text of some views."""
    page = open_page(address, color_scheme=scheme)
    for view in ("#/family/a", "#/compare/humaneval", "#/rows?q=sort", "#/row/c-0"):
        visit(page, view)
        assert page.evaluate(CONTRAST) == [], view


CONTRAST = """() => {
  const light = (colour) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.match(/[\\d.]+/g).map((v) => linear(Number(v) / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const weak = [];
  for (const element of document.body.querySelectorAll("*")) {
    const said = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!said || !element.checkVisibility()) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) weak.push(element.outerHTML.slice(0, 100));
  }
  return weak;
}"""


def test_the_pages_work_by_keyboard_and_tell_a_screen_reader_what_is_there(open_page: Open, address: str) -> None:
    page = open_page(address)
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.locator(":focus").get_attribute("id") == "main"
    for view in VIEWS:
        visit(page, view or "#/")
        assert page.locator("h1").count() == 1
        unnamed = page.locator("input, select, button, a").evaluate_all(
            "all => all.filter((e) => !(e.labels?.length || e.textContent.trim() || e.ariaLabel)).map((e) => e.outerHTML)"
        )
        assert unnamed == []
    visit(page, "#/rows")
    assert page.locator(":focus").get_attribute("id") == "main"  # a new view begins at its beginning
    assert page.locator("nav [aria-current=page]").inner_text() == "Instructions"
    page.get_by_role("search").wait_for()


def test_paper_shows_all_of_a_view_and_no_controls(open_page: Open, address: str) -> None:
    page = open_page(f"{address}#/family/a")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("details:not([open])").count() == 0
    assert not page.locator("header nav").is_visible()
    assert not page.get_by_role("button", name="Copy link").is_visible()
    assert page.locator(".steps pre").first.evaluate("element => getComputedStyle(element).maxHeight") == "none"


def test_pages_say_what_is_wrong_when_their_server_has_ended(browser: Browser, pages: Folder) -> None:
    with served(pages) as base:
        page = browser.new_page()
        page.goto(base)
        page.wait_for_selector("h1")
    page.route("**", lambda route: route.abort())
    page.evaluate("location.hash = '#/rows'")
    page.get_by_role("heading", name="This cannot be shown").wait_for()
    assert "Is evolcoder view still running" in page.locator("main").inner_text()
    page.close()


def test_a_query_is_cut_into_words_as_the_index_was(open_page: Open, address: str) -> None:
    page = open_page(address)

    def alike(text: str) -> None:
        assert set(page.evaluate("text => Search.wordsOf(text)", text)) == words_of(text), text

    odd = ["Stra\u00dfe \u0130I \u03a3\u03a3", "caf\u00e9 cafe\u0301", "\u2460\u00bd x_y 3.5e-7"]
    scripts = ["\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "\u0928\u092e\u0938\u094d\u0924\u0947"]
    for text in (*HOSTILE, *odd, *scripts):
        alike(text)
    given(st.text(KNOWN, max_size=40))(hypothesis.settings(max_examples=60)(alike))()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("same words", "same words"),
        ("sort a list", "sort a linked list quickly"),
        ("a b c d", "d c b a"),
        ("  indent\n\ttabs", "indent\n tabs \u2028"),
        ("<b>x</b>", "<i>x</i>"),
        ("\u4e8c\u5206", "\u4e8c\u5206\u63a2\u7d22"),
        ("word " * 1500, "other " * 1500),
        ("word " * 40_000, "other " * 40_000),
    ],
)
def test_differences_hold_both_texts_whole(open_page: Open, pages: Folder, before: str, after: str) -> None:
    page = open_page((pages.local_path / "index.html").as_uri())
    runs = page.evaluate("([before, after]) => Difference.between(before, after)", [before, after])
    if len(before) > 100_000:
        assert runs is None  # too long for a table; such texts are shown whole
        return
    assert "".join(text for kind, text in runs if kind != "new") == before
    assert "".join(text for kind, text in runs if kind != "gone") == after


def test_many_rows_are_paged(open_page: Open, tmp_path: Path) -> None:
    settings = made_settings(str(tmp_path / "runs"), rounds=1)
    run = make_run(settings)
    run.root.delete("rounds/01")
    write_round(run, 0, [instruction(f"n{i:04d}", f"n{i:04d}", 0, f"Task number {i}") for i in range(1000)])
    site = Folder.open(tmp_path / "site")
    make_pages(settings, run, site, quiet())
    with served(site) as base:
        page = open_page(f"{base}#/rows?q=task")
        assert page.locator(".hit").count() == 20
        page.get_by_role("link", name="Next").click()
        page.get_by_text("Page 2 of 50").wait_for()
        assert page.locator(".hit .snippet").first.inner_text() == "Task number 20"
        page.locator(".hit").last.scroll_into_view_if_needed()
        page.wait_for_function("history.state?.y > 0")
        place = page.evaluate("scrollY")
        page.locator(".hit h2 a").last.click()
        page.get_by_role("heading", level=1, name="Seed").wait_for()
        page.go_back()
        page.get_by_text("Page 2 of 50").wait_for()
        page.wait_for_function("place => Math.abs(scrollY - place) < 2", arg=place)
        page.go_back()
        page.get_by_text("Page 1 of 50").wait_for()
        assert page.locator(".hit .snippet").first.inner_text() == "Task number 0"
        for number in (31, 32, 999):  # as far into a list of rows as one character of it says, and further
            visit(page, f"#/rows?q=task+{number}&status=kept")
            assert page.locator("mark").all_inner_texts() == ["Task", str(number)]
            visit(page, f"#/row/n{number:04d}")
            assert f"Task number {number}" in text_of(page)
