"""Rows of all rounds, family by family, whatever the partitions."""

from __future__ import annotations

from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.explore.made import instruction

from evolcoder.evolve.rounds.shards import PART_NAME, REJECTED_NAME, partition_of
from evolcoder.explore.rows import families, findings
from evolcoder.records import INSTRUCTION_SCHEMA
from evolcoder.storage.arrow_files import arrow_bytes
from evolcoder.storage.folders import Folder

ROUNDS = 3
PLACES = (Folder.open(f"memory://families/{number}") for number in count())


@settings(max_examples=40)
@given(
    st.dictionaries(st.text("abc/\u00e9", min_size=1, max_size=3), st.lists(st.booleans(), min_size=1, max_size=ROUNDS)),
    st.integers(1, 3),
)
def test_every_row_comes_once_with_its_family_by_round(kept_of: dict[str, list[bool]], partitions: int) -> None:
    place = next(PLACES)
    rounds = [place / str(number) for number in range(ROUNDS)]
    for number, folder in enumerate(rounds):
        for partition in range(partitions):
            for name, wanted in ((PART_NAME, True), (REJECTED_NAME, False)):
                rows = [
                    instruction(f"{root}-{number}", root, number, "task")
                    for root, kept in sorted(kept_of.items())
                    if len(kept) > number and kept[number] is wanted and partition_of(root, partitions) == partition
                ]
                if rows:
                    folder.write_bytes(name.format(partition), arrow_bytes(rows, INSTRUCTION_SCHEMA, 2))
    found = [[row["id"] for row in family] for family in families(rounds)]
    expected = [[f"{root}-{number}" for number in range(len(kept))] for root, kept in kept_of.items()]
    assert sorted(found) == sorted(expected)


def test_what_was_found_against_a_row_is_kept_by_row() -> None:
    folder = next(PLACES)
    assert findings(folder) == {}
    folder.write_text("duplicates.json", '{"duplicates": [{"row_id": "a", "duplicate_of": "b"}]}')
    folder.write_text("contamination.json", '{"hits": [{"row_id": "a", "task_id": "1"}, {"row_id": "a", "task_id": "2"}]}')
    assert findings(folder) == {"a": [{"duplicate_of": "b"}, {"task_id": "1"}, {"task_id": "2"}]}
