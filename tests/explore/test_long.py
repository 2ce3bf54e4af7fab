"""A run of 100,000 rows and 1,000 problems with three models: what the pages load for a view, whatever there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from benchmarks.view import MODELS, ROUNDS, make_run, settings_of
from tests.explore.made import quiet, served

from evolcoder.explore.build import make_pages

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROWS, PROBLEMS = 100_000, 1000
LOADED = "performance.getEntriesByType('resource').map(entry => entry.encodedBodySize)"


@pytest.mark.long
def test_a_view_of_a_large_run_loads_little(open_page: Callable[..., Page], tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    run = make_run(settings, ROWS, PROBLEMS)
    manifest = make_pages(settings, run, run.root / "explore", quiet())
    assert manifest.summary["rows"] == ROWS
    assert max(entry.bytes for entry in manifest.files) < 300_000

    def visit(fragment: str, selector: str) -> tuple[int, int]:
        """How many files were loaded for a view that nothing was known of, and how many bytes."""
        page = open_page(base + fragment)
        page.wait_for_selector(selector)
        sizes = page.evaluate(LOADED)
        assert page.evaluate("document.querySelectorAll('*').length") < 2000
        return len(sizes), sum(sizes)

    root = f"{ROWS // ROUNDS - 1:020x}"
    with served(run.root / "explore") as base:
        for fragment, selector, most_files, most_bytes in (
            ("", "table", 12, 200_000),
            (f"#/rows?page={ROWS // 20}", ".hit", 20, 500_000),
            ("#/rows?q=w00001+w00300+w012&responses=1&status=kept&language=Python", ".hit", 60, 4_000_000),
            (f"#/family/{root}", ".steps li", 16, 500_000),
            (f"#/row/{root}", "pre", 16, 500_000),
            (f"#/problem/humaneval/HumanEval/{PROBLEMS - 1}", f".side:nth-child({len(MODELS)})", 24, 500_000),
            ("#/compare/humaneval?first=base&second=tuned&show=gained", "tbody tr", 16, 400_000),
        ):
            files, size = visit(fragment, selector)
            assert files <= most_files, fragment
            assert size <= most_bytes, fragment
