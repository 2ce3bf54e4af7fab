"""``evolcoder view``: makes the pages of a run and serves them until Ctrl-C, or leaves them in a folder of the user's."""

from __future__ import annotations

from evolcoder.console import Reporter
from evolcoder.explore.build import INDEX, STAGE, make_pages
from evolcoder.explore.server import HOST, PageServer
from evolcoder.run.folder import RunFolder
from evolcoder.settings.run import RunSettings
from evolcoder.storage.cache import cache_folder
from evolcoder.storage.folders import Folder
from evolcoder.storage.hashes import stable_hash


def view(settings: RunSettings, reporter: Reporter, export: bool, folder: str | None, port: int) -> None:
    """Make the pages where they are not there yet; then serve them until Ctrl-C.

    They lie in the run's own folder. Where that is on no disk of this machine, those that are served lie in its cache.

    Args:
        export: whether the pages are only made, and not served.
        folder: a folder, or its URI, to export the pages to; None: the run's own.
        port: on loopback; 0 is any that is free.

    Raises:
        RunFolderError, SettingsError: see ``make_pages`` and ``PageServer``.
    """
    run = RunFolder.open(settings)
    reporter.stage(f"View {settings.name}")
    own = run.root / STAGE
    if export:
        place = own if folder is None else Folder.open(folder)
        make_pages(settings, run, place, reporter)
        reporter.finish([f"{place}/{INDEX}"])
        return
    place = own if run.root.is_local else Folder.open(cache_folder() / STAGE / stable_hash(str(run.root)))
    with PageServer(place, port) as server:  # first, for a port in use is said before pages are made
        server.show(make_pages(settings, run, place, reporter))
        reporter.say(f"http://{HOST}:{server.server_port}/ shows the run; Ctrl-C ends it")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            reporter.finish([f"{place}/{INDEX}"])
