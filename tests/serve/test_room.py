"""For how many models at once a cluster has room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.serve.room import Room, room_for_models


@pytest.mark.parametrize(
    ("nodes", "replicas", "room"),
    [
        ([{"CPU": 16}], 1, None),  # one machine: an engine uses all of its cores
        ([{"CPU": 2}, {"CPU": 2}], 1, None),  # an engine and those who ask it would not both find a core
        ([{"CPU": 0}, {"CPU": 3}, {"CPU": 3}], 1, Room(2, 2, 1)),
        ([{"CPU": 8}, {"CPU": 64}, {"CPU": 2}], 1, Room(2, 5, 32)),
        ([{"CPU": 8}, {"CPU": 8}, {"CPU": 8}], 2, None),
        ([{"CPU": 16, "GPU": 4}], 1, Room(4, 1, 3)),
        ([{"CPU": 16, "GPU": 4}], 2, Room(2, 1, 6)),
        ([{"CPU": 16, "GPU": 4}], 4, None),
        ([{"CPU": 5, "GPU": 8}], 1, Room(2, 1, 1)),
        ([], 1, None),
    ],
)
def test_engines_and_those_who_ask_them_both_fit(nodes: list[dict[str, float]], replicas: int, room: Room | None) -> None:
    assert room_for_models(nodes, replicas) == room


@given(st.lists(st.fixed_dictionaries({"CPU": st.integers(0, 64), "GPU": st.integers(0, 8)}), max_size=6), st.integers(1, 4))
def test_no_more_is_promised_than_there_is(nodes: list[dict[str, float]], replicas: int) -> None:
    room = room_for_models(nodes, replicas)
    if room is None:
        return
    assert room.models > 1
    assert room.callers_cpus >= 1
    assert room.models * (room.engine_cpus * replicas + room.callers_cpus) <= sum(node["CPU"] for node in nodes)
    if not any(node["GPU"] for node in nodes):
        assert sum(node["CPU"] // room.engine_cpus for node in nodes if node["CPU"] >= 3) >= room.models * replicas
