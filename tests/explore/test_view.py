"""``evolcoder view`` as its user meets it: real processes, and one sentence for each mistake."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from tests.explore.made import made_settings, make_run
from tests.test_cli import evolcoder, sentence

from evolcoder.console import Reporter
from evolcoder.explore import view as view_module
from evolcoder.explore.server import HOST


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    settings = made_settings(str(tmp_path / "runs"))
    make_run(settings)
    path = tmp_path / "made.yaml"
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json", exclude_defaults=True)))
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_view_serves_until_ctrl_c_and_changes_nothing_but_its_own_pages(run_file: Path) -> None:
    before = files_of(run_file.parent)
    command = [sys.executable, "-m", "evolcoder.cli", "view", "made.yaml", "--port", "0"]
    with subprocess.Popen(
        command,
        cwd=run_file.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # tests in the background ignore it
    ) as process:
        assert process.stdout is not None
        address = next(line for line in process.stdout if "http://" in line).split()[0]
        with urllib.request.urlopen(address, timeout=20) as response:
            assert b"evolcoder view" in response.read()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    assert "runs/made/explore/index.html" in output
    after = files_of(run_file.parent)
    assert {name: after[name] for name in before} == before
    assert all(name.startswith(("runs/made/explore/", "runs/made/.explore.lock")) for name in set(after) - set(before))


def test_an_export_is_the_same_folder_and_is_left_as_it_is_the_second_time(run_file: Path) -> None:
    for said in ("", "left as they are"):
        shown = evolcoder("view", "made.yaml", "--export", "site", cwd=run_file.parent)
        assert shown.returncode == 0, shown.stderr
        assert said in shown.stdout
        assert "site/index.html" in shown.stdout
    assert not (run_file.parent / "runs/made/explore").exists()
    shown = evolcoder("view", "made.yaml", "--export", cwd=run_file.parent)
    assert (shown.returncode, "runs/made/explore/index.html" in shown.stdout) == (0, True), shown.stderr
    assert "section.key=value" in sentence(evolcoder("view", "made.yaml", "--export", "one", "two", cwd=run_file.parent))


def test_mistakes_get_one_sentence(run_file: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        busy = evolcoder("view", "made.yaml", "--port", port, cwd=tmp_path)
    assert busy.returncode == 2
    assert f"Port {port} of 127.0.0.1 is in use" in sentence(busy)
    assert "no finished stage yet" in sentence(evolcoder("view", "made.yaml", "name=other", cwd=tmp_path))
    assert "holds other files" in sentence(evolcoder("view", "made.yaml", "--export", ".", cwd=tmp_path))
    assert "made.yaml" in os.listdir(tmp_path)
    (tmp_path / "a-file").write_text("mine")
    for place in ("a-file", "a-file/site"):
        assert "a-file" in sentence(evolcoder("view", "made.yaml", "--export", place, cwd=tmp_path))
    assert (tmp_path / "a-file").read_text() == "mine"


def test_the_pages_of_a_run_on_other_storage_lie_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @contextmanager
    def interrupted(*_: object) -> Iterator[SimpleNamespace]:
        def serve() -> None:
            raise KeyboardInterrupt

        yield SimpleNamespace(server_port=1, serve_forever=serve, show=lambda _: None)

    monkeypatch.setenv("EVOLCODER_CACHE", str(tmp_path))
    monkeypatch.setattr(view_module, "PageServer", interrupted)
    settings = made_settings("memory://elsewhere/runs")
    make_run(settings)
    view_module.view(settings, Reporter("plain", io.StringIO()), False, None, 0)
    (index,) = tmp_path.rglob("index.html")
    assert index.is_relative_to(tmp_path / "explore")
