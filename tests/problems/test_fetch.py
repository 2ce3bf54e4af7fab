"""The loader, against copies of the real data: a local web server for releases, and rows in the hub's layout."""

from __future__ import annotations

import dataclasses
import gzip
import http.server
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evolcoder.benchmark_table import BENCHMARKS, BenchmarkFile, benchmark_files
from evolcoder.console import Reporter
from evolcoder.errors import DataError
from evolcoder.problems import fetch as benchmark_fetch
from evolcoder.problems import files as benchmark_data
from evolcoder.problems.fetch import fetch, list_benchmarks
from evolcoder.problems.files import benchmark_rows, read_benchmark


def quiet() -> Reporter:
    return Reporter("plain", io.StringIO())


@pytest.fixture
def release(data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """What a release would send, by name; the real files unless a test changes them. Data and cache folders are empty."""
    sent = {name: (data_folder / file.path).read_bytes() for name, file in benchmark_files().items() if name == "humaneval+"}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = sent.get(self.path.strip("/"))
            self.send_response(200 if data is not None else 404)
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def here(file: BenchmarkFile) -> BenchmarkFile:
        url = f"http://127.0.0.1:{server.server_port}/{file.name}"
        return dataclasses.replace(file, release_url=url) if file.release_url else file

    for name, entry in list(BENCHMARKS.items()):
        monkeypatch.setitem(BENCHMARKS, name, dataclasses.replace(entry, files=tuple(map(here, entry.files))))
    monkeypatch.setenv("EVOLCODER_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("EVOLCODER_CACHE", str(tmp_path / "cache"))
    yield sent
    server.shutdown()
    server.server_close()


def test_a_release_is_fetched_checked_and_read(release: dict[str, bytes], tmp_path: Path) -> None:
    (place,) = fetch(["humaneval+"], quiet())
    assert place == tmp_path / "data" / "humaneval" / "HumanEvalPlus.jsonl.gz"
    assert len(list(benchmark_rows("humaneval+"))) == 164
    release.clear()
    assert fetch(["humaneval+"], quiet()) == [place], "it is not fetched again"


def test_what_is_not_the_known_file_is_not_kept(release: dict[str, bytes], tmp_path: Path) -> None:
    release["humaneval+"] = gzip.compress(b"{}")
    with pytest.raises(DataError, match="is not the humaneval\\+ that is known here; nothing was kept"):
        fetch(["humaneval+"], quiet())
    assert not list(tmp_path.rglob("*.gz"))


def test_a_release_that_is_gone_is_one_sentence(release: dict[str, bytes]) -> None:
    with pytest.raises(DataError, match=r"cannot be had \(.*\); check the network"):
        fetch(["mbpp+"], quiet())


@pytest.mark.parametrize("name", ["mbpp", "ds1000"])
def test_the_hubs_rows_in_another_order_are_the_same_data(
    name: str, data_folder: Path, release: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = gzip.decompress((data_folder / benchmark_files()[name].path).read_bytes()).splitlines()
    rows: list[dict[str, Any]] = [dict(reversed(json.loads(line).items())) for line in lines]
    asked = []

    def download(wanted: Any) -> dict[str, Any]:
        asked.append(str(wanted))
        return {"train": rows[500:], "test": rows[:500]}

    monkeypatch.setattr("evolcoder.sources.HubDataset.splits", download)
    fetch([name], quiet())
    assert asked == [f"{benchmark_files()[name].hub_id}@{benchmark_files()[name].hub_revision}"]
    assert [*benchmark_rows(name)] == [json.loads(line) for line in lines]
    rows[3]["prompt" if name == "ds1000" else "text"] = "changed"
    (benchmark_data.data_folder() / benchmark_files()[name].path).unlink()
    with pytest.raises(DataError, match="nothing was kept"):
        fetch([name], quiet())


def test_the_list_says_what_is_here_and_what_is_not(release: dict[str, bytes], tmp_path: Path) -> None:
    fetch(["humaneval+"], quiet())
    place = tmp_path / "data" / benchmark_files()["mbpp"].path
    place.parent.mkdir(parents=True)
    place.write_bytes(b"something else")
    stream = io.StringIO()
    list_benchmarks(Reporter("json", stream))
    (table,) = [json.loads(line) for line in stream.getvalue().splitlines()]
    states = {row["name"]: row["state"] for row in table["rows"]}
    assert states == {
        "humaneval": "here", "humaneval+": "here", "mbpp": "another version", "mbpp+": "missing",
        "mbpp+-v0.2.0": "missing", "ds1000": "missing",
    }  # fmt: skip
    with pytest.raises(DataError, match="is not the mbpp that is known here"):
        read_benchmark("mbpp")


def test_an_unknown_name_is_one_sentence() -> None:
    with pytest.raises(DataError, match="There is no data 'apps'"):
        fetch(["humaneval", "apps"], quiet())


def test_a_folder_that_cannot_be_written_is_one_sentence(
    release: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(benchmark_fetch, "data_folder", lambda: tmp_path / "file")
    with pytest.raises(DataError, match=r"cannot be written \(.*\); set EVOLCODER_DATA"):
        fetch(["humaneval+"], quiet())
