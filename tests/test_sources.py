"""Where data is looked for, and what is said when it is not there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import fsspec
import pytest

from evolcoder.errors import DataError
from evolcoder.sources import HubDataset, SourceFile, find_source

SUFFIXES = (".json", ".jsonl")


def names(found: list[SourceFile] | HubDataset) -> list[str]:
    assert isinstance(found, list)
    return [file.name for file in found]


def test_a_file_here_wins_over_the_local_copy_which_wins_over_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EVOLCODER_DATA", raising=False)
    assert find_source("owner/tasks", SUFFIXES) == HubDataset("owner/tasks", None)

    copies = tmp_path / "copies"
    (copies / "owner/tasks").mkdir(parents=True)
    (copies / "owner/tasks/copy.jsonl").write_text("copy")
    monkeypatch.setenv("EVOLCODER_DATA", str(copies))
    assert names(find_source("owner/tasks", SUFFIXES)) == ["copy.jsonl"]

    (tmp_path / "owner/tasks").mkdir(parents=True)
    (tmp_path / "owner/tasks/here.jsonl").write_text("here")
    (file,) = find_source("owner/tasks", SUFFIXES)  # type: ignore[misc]
    assert (str(file), file.read_bytes()) == ("owner/tasks/here.jsonl", b"here")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sahil2801/CodeAlpaca-20k", HubDataset("sahil2801/CodeAlpaca-20k", None)),
        ("sahil2801/CodeAlpaca-20k@v1.0", HubDataset("sahil2801/CodeAlpaca-20k", "v1.0")),
        ("a/b@refs/convert/parquet", HubDataset("a/b", "refs/convert/parquet")),
    ],
)
def test_hub_ids(text: str, expected: HubDataset) -> None:
    assert find_source(text, SUFFIXES) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    "text", ["data/tasks.jsonl", "/nowhere/tasks", "./tasks", "tasks", "a/b/c", "~/no-such-tasks", "a b/c"]
)
def test_what_looks_like_a_path_is_never_asked_of_the_hub(text: str) -> None:
    with pytest.raises(DataError, match="There is no file or folder"):
        find_source(text, SUFFIXES)


def test_the_message_names_every_place_that_was_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVOLCODER_DATA", str(tmp_path / "copies"))
    with pytest.raises(DataError) as caught:
        find_source("tasks.jsonl", SUFFIXES)
    assert caught.value.message == "There is no file or folder tasks.jsonl or copies/tasks.jsonl."


def test_a_folder_without_such_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(DataError, match=r"holds no \.json or \.jsonl file"):
        find_source(str(tmp_path), SUFFIXES)


def test_a_file_on_another_filesystem() -> None:
    with fsspec.open("memory://seeds/tasks.jsonl", "wb") as file:
        file.write(b"{}")
    (found,) = find_source("memory://seeds/tasks.jsonl", SUFFIXES)  # type: ignore[misc]
    assert found.read_bytes() == b"{}"
    assert names(find_source("memory://seeds", SUFFIXES)) == ["tasks.jsonl"]


def test_a_file_that_may_not_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}")
    (file,) = find_source(str(tmp_path / "a.jsonl"), SUFFIXES)  # type: ignore[misc]
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        file.read_bytes()


def test_the_hub_out_of_reach_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        DataError, match=r"owner/no-such-tasks@v1 is neither .* \$EVOLCODER_DATA/owner/no-such-tasks@v1"
    ) as caught:
        list(HubDataset("owner/no-such-tasks", "v1").rows())
    assert "\n" not in caught.value.message


def test_without_the_datasets_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"evolcoder\[hub\]"):
        list(HubDataset("owner/tasks", None).rows())


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ({"test": [{"a": 1}], "train": [{"a": 2}]}, [{"a": 2}]),
        ({"b": [{"a": 1}], "a": [{"a": 2}]}, [{"a": 2}, {"a": 1}]),
    ],
)
def test_the_train_split_or_else_all(monkeypatch: pytest.MonkeyPatch, splits: dict[str, Any], expected: list[Any]) -> None:
    datasets = pytest.importorskip("datasets")
    asked: list[Any] = []

    def load_dataset(name: str, revision: str | None) -> dict[str, Any]:
        asked.append((name, revision))
        return splits

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert list(HubDataset("owner/tasks", "v1").rows()) == expected
    assert asked == [("owner/tasks", "v1")]
