"""How fast the pages of a large run are, measured inside a browser: the first view, searches, a family, problems.

    python -m benchmarks.view [--rows 100000] [--problems 1000] [--slow-down 4]

A run is made up (words as frequent as in English: Zipf's law), its pages are made and served by ``evolcoder view``'s own
server, and headless Chromium looks at them: as a laptop, and as a phone of 390 pixels whose processor is ``--slow-down`` times
slower. Times are the browser's: from the navigation, or from the key or click, to the frame that shows the result. Each is
the median and the worst of several; ``shards`` are the files loaded for it, and their size.
"""

from __future__ import annotations

import io
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from benchmarks.common import parser, print_header, print_row

from evolcoder.console import Reporter
from evolcoder.explore.build import make_pages
from evolcoder.explore.server import HOST, PageServer
from evolcoder.records import COMPLETION_SCHEMA, INSTRUCTION_SCHEMA, VERDICT_SCHEMA
from evolcoder.run.folder import RunFolder
from evolcoder.settings.run import RunSettings
from evolcoder.storage.arrow_files import arrow_writer
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROUNDS = 4
ROWS_PER_SHARD = 2000
VOCABULARY = 30_000
INSTRUCTION_WORDS, RESPONSE_WORDS = 90, 160
OPERATORS = ("constraints", "rarer_requirements", "deeper_reasoning", "erroneous_code", "complexity")
REASONS = ("truncated_response", "duplicate", "unchanged", "apology")
LANGUAGES = ("python", "javascript", "sql", "java")
MODELS = ("base", "tuned", "rounds-0")
QUERIES = ("w00007", "w00950 w00120", "w0123", "w00001 w00002 w00003", "w29999", "w001")
"""A frequent word; two; a beginning; three of the most frequent; a rare one; a short beginning, of 100 words."""


def settings_of(storage: Path) -> RunSettings:
    return RunSettings.model_validate(
        {"name": "large", "storage": str(storage), "evolve": {"rounds": ROUNDS - 1}, "study": {"base_rounds": [0]}}
    )


def make_run(settings: RunSettings, rows: int, problems: int) -> RunFolder:
    """Families of a seed and three rounds; a third of what the rounds made is eliminated."""
    run = RunFolder.open(settings)
    random = np.random.default_rng(0)
    vocabulary = np.array([f"w{number:05d}" for number in range(VOCABULARY)])
    frequency = 1 / np.arange(1, VOCABULARY + 1)
    cumulated = np.cumsum(frequency / frequency.sum())

    def text(length: int) -> str:
        return " ".join(vocabulary[np.minimum(np.searchsorted(cumulated, random.random(length)), VOCABULARY - 1)])

    roots = [f"{number:020x}" for number in range(rows // ROUNDS)]
    for number in range(ROUNDS):
        folder = run.round(number).make()
        stage = Stage(f"round {number:02d}", folder, {})
        for partition, start in enumerate(range(0, len(roots), ROWS_PER_SHARD)):
            made = [_row(root, number, text) for root in roots[start : start + ROWS_PER_SHARD]]
            for name, status in (("part", "kept"), ("rejected", "eliminated")):
                _write(folder, f"{name}-{partition:05d}.arrow", INSTRUCTION_SCHEMA, [r for r in made if r["status"] == status])
        stage.publish(folder.names())
    for place, model in enumerate(MODELS):
        _evaluate(run.evaluation(model, "humaneval"), problems, place, text)
    return run


def _row(root: str, number: int, text: Any) -> dict[str, Any]:
    fallen = number > 0 and (int(root, 16) + number) % 3 == 0
    language = LANGUAGES[int(root, 16) % len(LANGUAGES)]
    return {
        "id": f"{root[1:]}{number}" if number else root,
        "round": number,
        "parent_id": None if number == 0 else root if number == 1 else f"{root[1:]}{number - 1}",
        "root_id": root,
        "operator": OPERATORS[(int(root, 16) + number) % 5] if number else "seed",
        "instruction": text(INSTRUCTION_WORDS),
        "input": "",
        "response": f"{text(RESPONSE_WORDS)}\n```{language}\npass\n```",
        "teacher": "teacher",
        "sampling": "{}",
        "prompt_tokens": 300,
        "completion_tokens": 400,
        "request_keys": [],
        "status": "eliminated" if fallen else "kept",
        "reason": REASONS[int(root, 16) % len(REASONS)] if fallen else None,
    }


def _evaluate(folder: Folder, problems: int, model: int, text: Any) -> None:
    answers, verdicts = [], []
    for number in range(problems):
        passed = (number * (model + 3)) % 5 < 2
        key = {"task_id": f"HumanEval/{number}", "sample": 0}
        answers.append(
            {**key, "prompt": text(60), "answer": text(120), "finish_reason": "stop", "prompt_tokens": 1}
            | {"completion_tokens": 1, "kind": "answer"}
        )
        status = "passed" if passed else "failed"
        verdicts.append(
            {**key, "status": status, "base": status, "plus": None, "detail": "detail", "program": text(80)}
            | {"cpu_seconds": 0.1, "wall_seconds": 0.1}
        )
    folder.make()
    _write(folder, "completions.arrow", COMPLETION_SCHEMA, answers)
    _write(folder, "verdicts.arrow", VERDICT_SCHEMA, verdicts)
    folder.write_text(
        "score.json",
        '{"model": "m", "value": 0.4, "interval": [0.3, 0.5], "interval_method": "Wilson", "k": 1, "samples": 1, '
        f'"tasks": {problems}, "style": "base", "benchmark_version": "v"}}',
    )
    Stage("evaluate", folder, {}).publish(folder.names())


def _write(folder: Folder, name: str, schema: pa.Schema, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        with arrow_writer(folder, name, schema) as writer:
            writer.write_table(pa.Table.from_pylist(list(rows), schema=schema), max_chunksize=1024)


@contextmanager
def served(settings: RunSettings, run: RunFolder, folder: Folder) -> Iterator[str]:
    started = time.monotonic()
    manifest = make_pages(settings, run, folder, Reporter("plain", io.StringIO()))
    size = sum(entry.bytes for entry in manifest.files)
    print(f"pages made in {time.monotonic() - started:.0f} s: {len(manifest.files):,} files, {size / 1e6:.0f} MB", flush=True)
    with PageServer(folder, 0) as server:
        server.show(manifest)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{server.server_port}/"
        server.shutdown()


_FIRST_VIEW = """new MutationObserver(() => {
    if (document.querySelector('h1')) requestAnimationFrame(() => { window.firstView ??= performance.now(); });
}).observe(document, { childList: true, subtree: true });"""


def _promise(action: str, done: str, milliseconds: str) -> str:
    """A script that acts, and says how long it took until the frame after which something is done."""
    return f"""new Promise(resolve => {{
        const began = performance.now();
        const shown = () => requestAnimationFrame(() => resolve({milliseconds}));
        const look = () => ({done}) ? shown() : requestAnimationFrame(look);
        ({action});
        look();
    }})"""


class Looker:
    """One page of the run."""

    def __init__(self, browser: Browser, base: str, slow_down: float, **options: Any) -> None:
        self.base = base
        self.page: Page = browser.new_page(**options)
        self.page.add_init_script(_FIRST_VIEW)
        if slow_down != 1:
            session = self.page.context.new_cdp_session(self.page)
            session.send("Emulation.setCPUThrottlingRate", {"rate": slow_down})

    def loaded(self) -> str:
        """How many files the page has loaded since the last action began, and how large they are."""
        entries = "performance.getEntriesByType('resource').map(entry => entry.encodedBodySize)"
        sizes = self.page.evaluate(entries)
        return f"{len(sizes)}, {sum(sizes) / 1e3:,.0f} kB"

    def first_view(self, fragment: str) -> float:
        """Milliseconds from the navigation to the frame that shows the view."""
        self.page.goto(self.base + fragment)
        self.page.wait_for_function("window.firstView")
        return float(self.page.evaluate("window.firstView"))

    def act(self, action: str, done: str) -> float:
        """Milliseconds from an action in the page to the frame after which ``done`` holds."""
        return float(self.page.evaluate(_promise(action, done, "performance.now() - began")))

    def search(self, query: str, more: str = "") -> float:
        """Milliseconds from the input event of the empty box to the first hits of what then stands in it."""
        self.page.goto(self.base + "#/rows" + more)
        self.page.wait_for_selector(".hit")
        action = (
            "window.before = document.querySelector('.hits'), q = document.getElementById('q'), "
            f"q.value = '{query}', q.dispatchEvent(new Event('input'))"
        )
        self.page.evaluate("performance.clearResourceTimings()")
        return self.act(action, "document.querySelector('.hits') !== window.before")

    def visit(self, fragment: str, selector: str) -> float:
        self.page.goto(self.base + "#/eliminated")
        self.page.wait_for_selector("h1")
        self.page.evaluate("performance.clearResourceTimings()")
        return self.act(f"location.hash = '{fragment}'", f"document.querySelector('{selector}')")


def measure(
    browser: Browser, base: str, device: str, slow_down: float, repeats: int, rows: int, problems: int, **options: Any
) -> None:
    def reload() -> Looker:
        return Looker(browser, base, slow_down, **options)

    def row(what: str, times: Sequence[float], looker: Looker) -> None:
        print_row(device, what, f"{statistics.median(times):.0f} ms", f"{max(times):.0f} ms", looker.loaded())

    looker = reload()
    times = []
    for _ in range(repeats):
        looker.page.close()
        looker = reload()  # nothing of it in memory
        times.append(looker.first_view(""))
    row("first view", times, looker)
    for query in QUERIES:
        times = []
        for _ in range(repeats):
            looker.page.close()
            looker = reload()
            times.append(looker.search(query))
        row(f"search `{query}`", times, looker)
    times = []
    for _ in range(repeats):
        looker.page.close()
        looker = reload()
        times.append(looker.search(QUERIES[0], "?responses=1&status=kept&round=2&language=Python"))
    row(f"search `{QUERIES[0]}` in responses too, three filters", times, looker)
    root = f"{rows // ROUNDS // 2:020x}"
    task = problems // 2
    for what, fragment, selector in (
        ("a family", f"#/family/{root}", ".steps"),
        ("the last page of all rows", f"#/rows?page={rows // 20}", ".hits"),
        ("a problem, three models", f"#/problem/humaneval/HumanEval/{task}", ".sides"),
        ("two models side by side", "#/compare/humaneval?first=base&second=tuned&show=gained", ".choices"),
    ):
        times = []
        for _ in range(repeats):
            looker.page.close()
            looker = reload()
            times.append(looker.visit(fragment, selector))
        row(what, times, looker)
    looker.page.close()


def main() -> None:
    from playwright.sync_api import sync_playwright

    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=100_000)
    arguments.add_argument("--problems", type=int, default=1000)
    arguments.add_argument("--slow-down", type=float, default=4)
    arguments.add_argument("--repeats", type=int, default=7)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        settings = settings_of(Path(place))
        run = make_run(settings, chosen.rows, chosen.problems)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        with served(settings, run, run.root / "explore") as base:
            print_header("as", "what", "median", "worst", "files loaded")
            counts = {"repeats": chosen.repeats, "rows": chosen.rows, "problems": chosen.problems}
            measure(browser, base, "laptop", 1, **counts, viewport={"width": 1280, "height": 800})
            phone: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "device_scale_factor": 2}
            measure(browser, base, "phone", chosen.slow_down, **counts, **phone)
        browser.close()


if __name__ == "__main__":
    main()
