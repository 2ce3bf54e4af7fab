"""``evolcoder view``: makes the pages of a run and serves them until Ctrl-C, or leaves them in a folder of the user's."""

from __future__ import annotations

from evolcoder.console import Reporter
from evolcoder.explore.build import INDEX, STAGE, make_pages
from evolcoder.explore.server import HOST, PageServer
from evolcoder.runs.folder import RunFolder
from evolcoder.settings.run import RunSettings
from evolcoder.storage.cache import cache_folder
from evolcoder.storage.folders import Folder
from evolcoder.storage.hashes import stable_hash


def view(settings: RunSettings, reporter: Reporter, export: str | None, port: int) -> None:
    """Make the pages where they are not there yet; then serve them until Ctrl-C.

    They lie in the run's own folder, or, where that is on no disk of this machine, in its cache.

    Args:
        export: a folder, or its URI, to make the pages in; then nothing is served.
        port: on loopback; 0 is any that is free.

    Raises:
        RunFolderError, SettingsError: see ``make_pages`` and ``PageServer``.
    """
    run = RunFolder.open(settings)
    reporter.stage(f"View {settings.name}")
    if export is not None:
        folder = Folder.open(export)
        make_pages(settings, run, folder, reporter)
        reporter.finish([f"{folder}/{INDEX}"])
        return
    here = run.root.is_local
    folder = run.root / STAGE if here else Folder.open(cache_folder() / STAGE / stable_hash(str(run.root)))
    with PageServer(folder, port) as server:  # first, for a port in use is said before pages are made
        server.show(make_pages(settings, run, folder, reporter))
        reporter.say(f"http://{HOST}:{server.server_port}/ shows the run; Ctrl-C ends it")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            reporter.finish([f"{folder}/{INDEX}"])
