"""Makes the pages of a run and the data below them: a folder that any web server, or a disk, can serve.

It is a stage of its own, made from the rounds and evaluations that are there, and made anew when those change.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from itertools import takewhile
from typing import Any

import pyarrow as pa

from evolcoder.console import Reporter
from evolcoder.errors import RunFolderError
from evolcoder.explore.problems import write_benchmark
from evolcoder.explore.rows import write_rows
from evolcoder.explore.shards import DATA, Shards
from evolcoder.run.folder import RunFolder
from evolcoder.settings.run import RunSettings
from evolcoder.stages.listing import RunStage, run_stages
from evolcoder.storage.folders import Folder
from evolcoder.storage.hashes import stable_hash
from evolcoder.storage.stage import Manifest, Stage, verified_manifest

FORMAT = 1
"""Raised whenever other data are written than before, so that the pages are made anew."""

STAGE = "explore"
INDEX = "index.html"
_MARK = '<meta name="generator" content="evolcoder view">'


def make_pages(settings: RunSettings, run: RunFolder, folder: Folder, reporter: Reporter) -> Manifest:
    """Make the pages in ``folder`` unless they are there as they would be made now: of the rounds that are finished, without a
    gap from round 0, and of the evaluations.

    Raises:
        RunFolderError: the run has nothing to look at; ``folder`` holds something else; files are damaged, or cannot be
            written, or were made anew while they were read.
        RunBusyError: another process makes the run's own pages.
    """
    listed = run_stages(settings, run)
    rounds = takewhile(lambda entry: entry.stage.manifest() is not None, (e for e in listed if e.kind == "round"))
    entries = [*rounds, *(e for e in listed if e.kind == "evaluate" and e.stage.manifest() is not None)]
    if not entries:
        raise RunFolderError(f"{run.root} has no finished stage yet; run `evolcoder evolve` or `evolcoder study` first.")
    sources = files("evolcoder.explore").joinpath("pages").iterdir()
    pages = {entry.name: entry.read_bytes() for entry in sorted(sources, key=lambda entry: entry.name) if entry.is_file()}
    identity = {"format": FORMAT, "pages": stable_hash(*(data.decode() for data in pages.values())), "name": settings.name}
    stage = Stage(STAGE, folder, identity, {entry.label: entry.stage for entry in entries}).pinned()
    state = stage.state()
    if state.done and state.manifest is not None:
        reporter.say("nothing changed since these pages were made: they are left as they are")
        return state.manifest
    _check_place(folder)
    try:
        with run.lock(STAGE) if folder == run.root / STAGE else nullcontext():
            for entry in entries:
                verified_manifest(entry.stage.folder)
            shards = Shards(stage.begin(DATA))
            for name, data in pages.items():
                shards.write(name, data)
            return stage.publish(shards.files, _write_data(settings, entries, shards, reporter))
    except (FileNotFoundError, pa.ArrowInvalid) as error:  # another process makes a stage anew
        raise RunFolderError(f"{run.root} changed while it was read ({error}); run the same command again.") from error


def _write_data(settings: RunSettings, entries: Sequence[RunStage], shards: Shards, reporter: Reporter) -> dict[str, Any]:
    rounds = [entry.stage.folder for entry in entries if entry.kind == "round"]
    total = sum(manifest.rows for entry in entries if entry.kind == "round" and (manifest := entry.stage.manifest()))
    with reporter.progress("rows", total) as progress:
        rows = write_rows(rounds, shards, progress)
    places: defaultdict[str, dict[str, Folder]] = defaultdict(dict)
    for entry in entries:
        if entry.kind == "evaluate":
            places[entry.benchmark][entry.model] = entry.stage.folder
    benchmarks = [write_benchmark(number, name, by, shards) for number, (name, by) in enumerate(places.items())]
    made = {"made_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "version": version("evolcoder")}
    shards.put("run", {"name": settings.name, **made, "rows": rows, "benchmarks": benchmarks})
    return {"rows": rows["count"], "benchmarks": len(benchmarks)}


def _check_place(folder: Folder) -> None:
    """
    Raises:
        RunFolderError: the folder holds files that are not such pages; they are left alone.
    """
    is_file = folder.size_bytes("") is not None
    ours = not is_file and folder.exists(INDEX) and _MARK.encode() in folder.read_bytes(INDEX)
    if is_file or (not ours and folder.names(recursive=True)):
        what = "is a file" if is_file else "holds other files"
        raise RunFolderError(f"{folder} {what}, which is left alone: name a new or an empty folder.")
