from __future__ import annotations

import pytest

from evolcoder.errors import ClusterError
from evolcoder.settings.run import TrainSettings
from evolcoder.train.resources import Room, choose_device, room_in


def test_a_machine_without_gpus_trains_on_its_cpus() -> None:
    assert choose_device(TrainSettings(workers=2, global_batch_size=2), {"CPU": 2.0}, {}) == (False, 0)


def test_gpus_are_taken_when_there_are_any() -> None:
    assert choose_device(TrainSettings(workers=2, global_batch_size=2), {"CPU": 8.0, "GPU": 4.0}, {}) == (True, 0)


def test_gpus_that_the_cluster_can_start_count() -> None:
    wanted = TrainSettings(workers=8, global_batch_size=8)
    assert choose_device(wanted, {"CPU": 4.0}, {"CPU": 100, "GPU": 16}) == (True, 8)


@pytest.mark.parametrize(
    ("now", "ever", "sentence"),
    [
        ({"CPU": 2.0}, {}, "needs 8 CPUs, but the cluster has 2 and no GPU; set train.workers to 2 or less"),
        ({"CPU": 64.0, "GPU": 4.0}, {}, "needs 8 GPUs, but the cluster has 4; set train.workers to 4 or less"),
        ({"CPU": 4.0}, {"CPU": 64, "GPU": 4}, "needs 8 GPUs, but the cluster can grow to 4"),
    ],
)
def test_what_can_never_be_had_is_refused_with_the_numbers(
    now: dict[str, float], ever: dict[str, float], sentence: str
) -> None:
    with pytest.raises(ClusterError) as refusal:
        choose_device(TrainSettings(workers=8, global_batch_size=8), now, ever)
    assert sentence in refusal.value.message


@pytest.mark.parametrize(
    ("workers", "nodes", "ever", "room"),
    [
        (1, [{"CPU": 2.0}], {}, Room(1)),  # a laptop: one training uses all cores
        (1, [{"CPU": 0.0}, {"CPU": 2.0}, {"CPU": 2.0}], {}, Room(2, 2)),
        (2, [{"CPU": 8.0}, {"CPU": 4.0}, {"CPU": 4.0}], {}, Room(3, 2)),
        (6, [{"CPU": 4.0}] * 4, {}, Room(2, 1)),
        (6, [{"CPU": 4.0}] * 3, {}, Room(1)),
        (4, [{"CPU": 1.0}], {}, Room(1)),  # which is refused elsewhere
        (4, [{"CPU": 16.0, "GPU": 8.0}, {"CPU": 64.0}], {}, Room(2)),
        (4, [{"CPU": 8.0}], {"CPU": 64, "GPU": 16}, Room(4)),
        (8, [{"CPU": 8.0, "GPU": 4.0}], {}, Room(1)),
    ],
)
def test_as_many_trainings_run_at_once_as_there_is_room_for_gangs(
    workers: int, nodes: list[dict[str, float]], ever: dict[str, float], room: Room
) -> None:
    assert room_in(TrainSettings(workers=workers, global_batch_size=24), nodes, ever) == room
