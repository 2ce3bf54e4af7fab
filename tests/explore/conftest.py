"""A made run, its pages, and a real browser to look at them with."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.explore.made import made_settings, make_run, quiet, served

from evolcoder.explore.build import make_pages
from evolcoder.run.folder import RunFolder
from evolcoder.settings.run import RunSettings
from evolcoder.storage.folders import Folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    return made_settings(str(tmp_path / "runs"))


@pytest.fixture
def run(settings: RunSettings) -> RunFolder:
    return make_run(settings)


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The pages of the made run."""
    place = tmp_path_factory.mktemp("explore")
    settings = made_settings(str(place / "runs"))
    folder = Folder.open(place / "site")
    make_pages(settings, make_run(settings), folder, quiet())
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium of this machine; without one, or without playwright, these tests are skipped.

    Not for the whole session: as long as it is there, an event loop runs in this thread, and others cannot start theirs.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium on the PATH: apt-get install chromium")
    with (
        sync_api.sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=found, args=["--no-sandbox"]) as browser,
    ):
        yield browser


@pytest.fixture(params=["served", "on a disk"])
def address(request: pytest.FixtureRequest, pages: Folder) -> Iterator[str]:
    """Where the pages are: at a server, and as a file."""
    if request.param == "served":
        with served(pages) as base:
            yield base
    else:
        yield (pages.local_path / "index.html").as_uri()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens an address. At the end nothing may have gone wrong in the page, nor another place been asked for anything."""
    troubles: list[str] = []
    contexts: list[Any] = []

    def open_at(address: str, **options: Any) -> Page:
        origin = address.split("#")[0].removesuffix("index.html")
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda sent: None if sent.url.startswith((origin, "data:,")) else troubles.append(sent.url))
        page.on("dialog", lambda dialog: troubles.append(dialog.message))
        page.goto(address)
        page.wait_for_selector("h1")
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert troubles == []
