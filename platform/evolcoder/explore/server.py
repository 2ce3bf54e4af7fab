"""Serves a folder of pages to this machine alone, read only.

It answers on loopback, and only to a browser that asked for this machine by its own name, so that a page of the web that has
another name point here gets nothing. A file is served when the manifest vouches for its name, and no other; there is no path to
leave by.
"""

from __future__ import annotations

import errno
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from evolcoder.errors import SettingsError
from evolcoder.explore.build import INDEX
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Manifest

HOST = "127.0.0.1"
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types explorer-shards"
)
"""Also in ``pages/index.html``, for pages that are served by others. ``frame-ancestors`` is for headers only."""

_HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Shards are scripts, and any page of the web could otherwise load one and read it.
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class PageServer(ThreadingHTTPServer):
    """It listens from the start, and serves nothing until it is told what there is."""

    daemon_threads = True
    served: frozenset[str] = frozenset()

    def __init__(self, folder: Folder, port: int) -> None:
        """Port 0 is any that is free.

        Raises:
            SettingsError: the port cannot be had.
        """
        self.pages = folder
        try:
            super().__init__((HOST, port), _Pages)
        except OSError as error:
            what = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise SettingsError(f"Port {port} of {HOST} {what}; name another with --port, or 0 for any that is free.") from None
        except OverflowError:
            raise SettingsError(f"There is no port {port}: name one between 0 and 65535 with --port.") from None

    def show(self, manifest: Manifest) -> None:
        """Serve the files that the manifest names."""
        self.served = frozenset(entry.path for entry in manifest.files)

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that goes away in the middle of an answer is no defect."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Pages(BaseHTTPRequestHandler):
    server: PageServer
    protocol_version = "HTTP/1.1"
    server_version = "evolcoder"
    sys_version = ""
    timeout = 60
    # An answer goes out whole: a head by itself would wait for the other side's acknowledgement, up to 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        name = unquote(urlsplit(self.path).path).lstrip("/") or INDEX
        if self.headers.get("Host", "").partition(":")[0] not in (HOST, "localhost"):  # the port may be that of a tunnel
            self._answer(HTTPStatus.MISDIRECTED_REQUEST, b"This server answers to its own address alone.\n", "text/plain")
        elif name not in self.server.served:
            self._answer(HTTPStatus.NOT_FOUND, b"There is no such page.\n", "text/plain")
        else:
            try:
                data = self.server.pages.read_bytes(name)
            except FileNotFoundError:
                self._answer(HTTPStatus.NOT_FOUND, b"These pages were made anew: start `evolcoder view` again.\n", "text/plain")
            else:
                self._answer(HTTPStatus.OK, data, _TYPES[name.rpartition(".")[2]])

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, status: HTTPStatus, data: bytes, kind: str) -> None:
        self.send_response(status)
        for header, value in {**_HEADERS, "Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(data))}.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: what a person looks at is nobody's business."""
