"""Stages: honest manifests, whatever happens to what they vouch for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evolcoder.errors import RunFolderError
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import MANIFEST, Manifest, Stage, describe_file, read_manifest, verified_manifest

IDENTITY = {"seed": 0, "rows": (1, 2)}
INPUTS = {"seeds": "abc"}


def made(folder: Folder, files: dict[str, bytes], summary: dict[str, Any] | None = None, **changes: Any) -> Manifest:
    stage = Stage(**{"kind": "stage", "folder": folder, "identity": IDENTITY, "inputs": INPUTS, **changes})
    stage.begin()
    for name, data in files.items():
        folder.write_bytes(name, data)
    return stage.publish([describe_file(folder, name, rows=1) for name in files], summary)


def state(folder: Folder, **changes: Any) -> str:
    found = Stage(**{"kind": "stage", "folder": folder, "identity": IDENTITY, "inputs": INPUTS, **changes}).state()
    return f"{found.kind} {found.reason}".strip()


def test_what_is_not_there(folder: Folder) -> None:
    assert read_manifest(folder) is None
    assert verified_manifest(folder) is None
    assert state(folder) == "missing"
    with pytest.raises(RunFolderError, match="should have been written"):
        describe_file(folder, "a")


def test_a_published_stage_is_done(folder: Folder) -> None:
    manifest = made(folder, {"part-0.arrow": b"rows", "part-1.arrow": b"more"}, summary={"kept": 2})
    assert read_manifest(folder) == verified_manifest(folder) == manifest
    assert manifest.rows == 2
    assert state(folder) == "done"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"identity": {"seed": 1, "rows": [1, 2]}}, "stale seed changed since it was made"),
        ({"identity": {"seed": 0}}, "stale rows changed since it was made"),
        ({"identity": {"seed": 0, "rows": [1, 2], "new": None, "x": 1}}, "stale x changed since it was made"),
        ({"inputs": {"seeds": "abd"}}, "stale seeds changed since it was made"),
        ({"inputs": {}}, "stale seeds changed since it was made"),
    ],
)
def test_a_stage_made_otherwise_is_stale(folder: Folder, changes: dict[str, Any], expected: str) -> None:
    made(folder, {"a": b"x"})
    assert state(folder, **changes) == expected


@pytest.mark.parametrize("damage", [b"", b"y", b"xx", None])
def test_a_changed_file_is_damage(folder: Folder, damage: bytes | None) -> None:
    made(folder, {"a": b"x", "b": b"x"})
    folder.delete("b")
    if damage is not None:
        folder.write_bytes("b", damage)
    assert state(folder) == "damaged b is missing or changed on disk"
    with pytest.raises(RunFolderError, match="is damaged: b is missing or changed on disk; run the verb that made it again"):
        verified_manifest(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"stage": "x"}', "\0\0\0\0"])
def test_a_broken_manifest_says_what_to_do(folder: Folder, text: str) -> None:
    made(folder, {"a": b"x"})
    folder.write_text(MANIFEST, text)
    with pytest.raises(RunFolderError, match="delete it, and the stage is made again") as caught:
        state(folder)
    assert MANIFEST in caught.value.message


names = st.text(st.characters(codec="ascii", categories=["Ll", "Nd"]), min_size=1, max_size=8)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(names, st.binary(max_size=20), min_size=1, max_size=4), st.data())
def test_the_content_hash_is_of_names_and_bytes_alone(tmp_path: Path, files: dict[str, bytes], data: st.DataObject) -> None:
    here = Folder.open(tmp_path / data.draw(names))
    one = made(here, files, summary={"cost": 1}, identity={"a": 1})
    other = made(here, dict(reversed(files.items())), summary={"cost": 2}, identity={"a": 2})
    assert one.content_hash == other.content_hash
    name = data.draw(st.sampled_from(sorted(files)))
    changed = made(here, files | {name: files[name] + b"!"})
    assert changed.content_hash != one.content_hash


def test_a_stage_made_from_others_goes_stale_with_them(folder: Folder) -> None:
    first = Stage("first", folder / "1", {})
    second = Stage("second", folder / "2", {}, {"first": first, "model": lambda: "of no stage"})
    with pytest.raises(RunFolderError, match="is not made yet"):
        second.publish([])
    made(first.folder, {"a": b"x"}, identity={}, inputs={})
    manifest = second.publish([])
    assert manifest.inputs == {"first": first.content_hash(), "model": "of no stage"}
    assert second.state().done
    assert second.changed_inputs(manifest) == []

    pinned = second.pinned()
    made(first.folder, {"a": b"y"}, identity={}, inputs={})
    assert second.state().reason == "first changed since it was made"
    assert second.changed_inputs(manifest) == ["first"]
    assert pinned.publish([]).inputs == manifest.inputs, "it says what it was made from, not what is there by now"
    first.begin()
    assert second.state().kind == "stale"
    assert second.changed_inputs(manifest) == ["first"]


def test_what_decides_a_stage_is_found_out_only_when_it_matters(folder: Folder) -> None:
    asked = []
    stage = Stage("stage", folder, lambda: asked.append("identity") or {"a": 1}, {"b": lambda: asked.append("input") or "x"})  # type: ignore[func-returns-value]
    assert stage.state().kind == "missing"
    assert asked == []
    stage.publish([])
    assert stage.state().done
    assert asked.count("identity") == 1


def test_what_an_earlier_making_left_goes_after_the_manifest(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    made(folder, {"part-0.arrow": b"", "part-1.arrow": b"", "deep/a": b"", "kept": b""})
    gone: list[str] = []
    delete = Folder.delete
    monkeypatch.setattr(Folder, "delete", lambda self, name="": (gone.append(name), delete(self, name))[1])
    Stage("stage", folder, IDENTITY).begin("part-*", "deep", "never there")
    assert gone == [MANIFEST, "part-0.arrow", "part-1.arrow", "deep", "never there"]
    assert folder.names(recursive=True) == ["kept"]


def test_what_lies_elsewhere_is_taken_over_if_it_is_the_same(folder: Folder) -> None:
    there, here = folder / "there", folder / "here"
    manifest = made(there, {"a": b"1", "b/c": b"2"})
    stage = Stage("stage", here, IDENTITY, INPUTS)
    assert not Stage("stage", here, {"seed": 1}, INPUTS).take_over(there)
    assert not Stage("stage", here, IDENTITY, {"seeds": "xyz"}).take_over(there)
    assert not stage.take_over(folder / "nowhere")
    assert not stage.folder.exists("a")
    assert stage.take_over(there)
    assert stage.state().done
    assert stage.manifest() == manifest
    there.write_bytes("a", b"other")
    assert not Stage("stage", folder / "third", IDENTITY, INPUTS).take_over(there), "its files are not what it says"
