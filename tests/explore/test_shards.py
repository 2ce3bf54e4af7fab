"""Data as scripts."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.explore.made import HOSTILE

from evolcoder.explore.shards import Shards, script
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import describe_file

ANY_TEXT = st.text(st.characters(exclude_categories=[])) | st.sampled_from(HOSTILE)


def in_javascript(text: str) -> bytes:
    """Its UTF-16 units: there, two halves of a surrogate pair that meet are one character."""
    return text.encode("utf-16-be", "surrogatepass")


@given(st.lists(ANY_TEXT))
def test_no_text_can_end_a_script_and_all_of_it_arrives(texts: list[str]) -> None:
    written = script("rows/0", texts).decode("utf-8")
    assert written.startswith("explorerShard(...[")
    assert written.endswith("]);\n")
    assert not set("<\u2028\u2029") & set(written)
    assert written.count("\n") == 1
    name, arrived = json.loads(written.removeprefix("explorerShard(...").removesuffix(");\n"))
    assert name == "rows/0"
    assert [in_javascript(text) for text in arrived] == [in_javascript(text) for text in texts]


def test_what_was_written_is_described_as_a_manifest_would(tmp_path: Path) -> None:
    shards = Shards(Folder.open(tmp_path))
    shards.put("rows/0", ["\ud800 \u00e9"])
    (entry,) = shards.files
    assert entry == describe_file(Folder.open(tmp_path), "data/rows/0.js")
