"""The server of pages: whom it answers, with what, and what cannot be asked of it."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from tests.explore.made import served

from evolcoder.errors import SettingsError
from evolcoder.explore.server import HOST, POLICY, PageServer
from evolcoder.storage.folders import Folder


@pytest.fixture
def port(pages: Folder) -> Iterator[int]:
    with served(pages) as address:
        found = urlsplit(address).port
        assert found is not None
        yield found


def ask(port: int, path: str, method: str = "GET", host: str | None = None) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=20)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"{HOST}:{port}")
    connection.endheaders()
    response = connection.getresponse()
    return response, response.read()


def test_pages_and_data_are_served_as_they_lie_there(port: int, pages: Folder) -> None:
    for path, name, kind in (
        ("/", "index.html", "text/html"),
        ("/index.html?x=1", "index.html", "text/html"),
        ("/explorer.css", "explorer.css", "text/css"),
        ("/data/rows/0.js", "data/rows/0.js", "text/javascript"),
    ):
        response, body = ask(port, path)
        assert (response.status, response.headers.get_content_type()) == (200, kind)
        assert body == pages.read_bytes(name)
    response, body = ask(port, "/", "HEAD")
    assert (response.status, body) == (200, b"")


ELSEWHERE = ["evil.example", "evil.example:{port}", "127.0.0.1.evil:{port}", "localhost.evil", ":{port}", "10.0.0.1"]


@pytest.mark.parametrize("host", ELSEWHERE)
def test_a_name_of_the_web_that_points_here_gets_nothing(port: int, host: str) -> None:
    response, body = ask(port, "/", host=host.format(port=port))
    assert response.status == 421
    assert b"<" not in body
    for own in (f"localhost:{port}", "127.0.0.1", "localhost:9000"):  # the last through a tunnel
        assert ask(port, "/", host=own)[0].status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../runs/made/run.yaml",
        "/data/../../runs/made/rounds/00/part-00000.arrow",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2fruns",
        "//etc/passwd",
        "/data/rows",
        "/manifest.json",
        "/data/rows/0.js%00.html",
        "/%ff%fe",
        "/data/rows/999.js",
        "http://127.0.0.1/etc/passwd",
    ],
)
def test_only_what_the_manifest_names_is_there(port: int, path: str) -> None:
    assert ask(port, path)[0].status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_nothing_can_be_changed(port: int, method: str) -> None:
    assert ask(port, "/", method)[0].status == 501


@pytest.mark.parametrize("path", ["/", "/data/rows/0.js", "/nothing"])
def test_every_answer_forbids_what_the_pages_do_not_need(port: int, path: str) -> None:
    headers = ask(port, path)[0].headers
    assert headers["Content-Security-Policy"] == f"{POLICY}; frame-ancestors 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_the_pages_say_the_same_policy_where_another_server_serves_them(pages: Folder) -> None:
    found = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', pages.read_text("index.html"))
    assert found is not None
    assert found.group(1) == POLICY
    assert "unsafe" not in POLICY


def test_a_port_in_use_is_said_with_what_to_do(pages: Folder) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        with pytest.raises(SettingsError, match=r"is in use; name another with --port"):
            PageServer(pages, taken.getsockname()[1])
    with pytest.raises(SettingsError, match="between 0 and 65535"):
        PageServer(pages, 70_000)


def test_pages_that_went_away_are_said(pages: Folder, tmp_path_factory: pytest.TempPathFactory) -> None:
    copy = Folder.open(tmp_path_factory.mktemp("copy"))
    for name in pages.names(recursive=True):
        copy.write_bytes(name, pages.read_bytes(name))
    with served(copy) as address:
        copy.delete("data")
        response, body = ask(urlsplit(address).port or 0, "/data/rows/0.js")
    assert response.status == 404
    assert b"start `evolcoder view` again" in body
