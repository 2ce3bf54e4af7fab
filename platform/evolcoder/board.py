"""Where the workers of a stage tell the driver how far they are. What they tell is the matter of the stage."""

from __future__ import annotations

from typing import Any

from evolcoder.cluster import beside_the_driver

_READ_SECONDS = 10


class Board:
    """The newest report of each worker, in the order in which the workers first reported.

    It runs as a Ray actor. One that is started again is soon complete: each report says all that its worker has to say.
    """

    def __init__(self) -> None:
        self._reports: dict[str, Any] = {}

    def report(self, worker: str, report: Any) -> None:
        self._reports[worker] = report

    def read(self) -> dict[str, Any]:
        return self._reports


def start_board() -> Any:
    """The handle of a new board, on the driver's node. It ends with the handle's last copy."""
    import ray

    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
    return ray.remote(Board).options(scheduling_strategy=beside_the_driver(), **options).remote()


def read_board(board: Any) -> dict[str, Any] | None:
    """All reports; None while the board cannot be reached, which whoever waits for the workers need not mind."""
    import ray

    try:
        reports: dict[str, Any] = ray.get(board.read.remote(), timeout=_READ_SECONDS)
    except ray.exceptions.RayError:
        return None
    return reports
