"""A run on Ray: pools stream through actors on Ray Data, and rounds are checked and merged by a task for each partition.

Tasks read a pool partition by partition, actors evolve the rows, tasks write them into a folder of this attempt. Nothing
here grows on the driver with the rows.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.data.block import BlockAccessor
from ray.data.datasource import Datasink

from evolcoder.board import read_board, start_board
from evolcoder.console import Progress, Reporter
from evolcoder.endpoint.limits.ledger import TeacherLimits
from evolcoder.endpoint.limits.shared_limiter import LimitsActor
from evolcoder.errors import EvolcoderError
from evolcoder.evolve.rounds.display import watching
from evolcoder.evolve.rounds.shards import read_pool, write_rows
from evolcoder.evolve.rounds.worker import Round, RowEvolver, together
from evolcoder.evolve.rules.evolution import CHANGES
from evolcoder.records import Instruction
from evolcoder.storage.folders import Folder

_ROWS_PER_CALL = 16
"""How many rows of one block Ray Data hands to an async map at once; its default, which is read when it is imported."""
_LONGEST_BLOCK_ROWS = 128
_TASK_CPUS = 0.1


class OnRay:
    """Where a run's tasks go, its limits are kept and its pools are evolved. Use it inside ``cluster.ray_session()``."""

    put = staticmethod(ray.put)

    def submit(self, function: Callable[..., Any], *arguments: Any, num_cpus: float, num_returns: int = 1) -> Any:
        """Start a task. What other tasks will return, or what was ``put``, may be among its arguments."""
        return ray.remote(function).options(num_cpus=num_cpus, num_returns=num_returns).remote(*arguments)

    def result(self, task: Any) -> Any:
        with plain_causes():
            return ray.get(task)

    @contextmanager
    def ledger(self, limits: TeacherLimits, journal: Folder) -> Iterator[Any]:
        """The actor that all workers share."""
        actor = ray.remote(LimitsActor).options(num_cpus=0, max_restarts=-1, max_task_retries=-1)
        ledger = actor.remote(limits, journal)
        try:
            yield ledger
        finally:
            ray.kill(ledger)

    def evolve_pool(self, this: Round, progress: Progress, reporter: Reporter) -> tuple[Counter[str], EvolcoderError | None]:
        """Bring every row of the pool through the workers; returns the totals, and why the run must stop, if it must."""
        board = start_board()
        try:
            with plain_causes(), watching(partial(read_board, board), progress, this.teacher.limits, reporter):
                changes = _evolve_pool(this, board)
            so_far = together(ray.get(board.read.remote()).values())
            return so_far.totals + changes, so_far.stop
        finally:
            ray.kill(board)


@contextmanager
def plain_causes() -> Iterator[None]:
    """Let what a Ray task raised for the user's eyes reach them as it was raised."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        cause: object = error
        while isinstance(cause, ray.exceptions.RayTaskError):
            cause = cause.cause
        if isinstance(cause, EvolcoderError):
            sentence, *_ = cause.message.splitlines()  # Ray Data adds lines of its own
            raise type(cause)(sentence) from None
        raise


def _evolve_pool(this: Round, board: Any) -> Counter[str]:
    """Run every row of the pool through the teacher, into this attempt's folder; returns what was changed in replies."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = -1  # it waits as long as the teacher does: the client has its own time-outs
    for name in ("ray.data", "ray.data._internal"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a failure is told once, in our words
    concurrency = this.settings.teacher.max_concurrency
    free_cpus = int(ray.available_resources().get("CPU", 1))
    workers = min(this.settings.evolve.workers or max(1, free_cpus), concurrency, this.rows)
    share = concurrency // workers
    calls = -(-share // _ROWS_PER_CALL) + 1
    block_rows = max(1, min(_LONGEST_BLOCK_ROWS, this.rows // (workers * calls)))
    job = this.job(share)
    earlier = this.earlier
    pool = ray.data.range(this.partitions, override_num_blocks=this.partitions).flat_map(
        lambda row: [member.to_row() for member in read_pool(earlier, int(row["id"]))], num_cpus=_TASK_CPUS
    )
    evolved = pool.repartition(target_num_rows_per_block=block_rows).map(
        RowEvolver,
        fn_constructor_args=(job, board, this.teacher.ledger),
        compute=ActorPoolStrategy(size=workers, max_concurrent_calls_per_actor=calls, max_tasks_in_flight_per_actor=calls + 1),
        num_cpus=_TASK_CPUS,
    )
    sink = _AttemptSink(this.attempt.make(), this.partitions)
    # Without a limit Ray Data starts as many processes as there are blocks to write, which takes longer than the writing.
    evolved.write_datasink(sink, ray_remote_args={"num_cpus": _TASK_CPUS}, concurrency=workers)
    return sink.changes


class _AttemptSink(Datasink[Counter[str]]):  # type: ignore[misc]
    """Writes blocks as Arrow files below ``<attempt>/<partition>``; a task that is tried again overwrites its own files.

    ``changes`` holds at the end what was changed in replies: each row is counted once, unlike on the board.
    """

    def __init__(self, attempt: Folder, partitions: int) -> None:
        self._attempt = attempt
        self._partitions = partitions
        self.changes: Counter[str] = Counter()

    def write(self, blocks: Iterable[Any], ctx: Any) -> Counter[str]:
        changes: Counter[str] = Counter()
        for index, block in enumerate(blocks):
            rows = BlockAccessor.for_block(block).to_arrow().to_pylist()
            members = [Instruction.from_row(row) for row in rows]
            write_rows(self._attempt, self._partitions, f"{ctx.task_idx:06d}-{index:04d}", members)
            for row in rows:
                changes.update({name: row[name] for name in CHANGES})
        return changes

    def on_write_complete(self, write_result: Any) -> None:
        self.changes = sum(write_result.write_returns, Counter())
