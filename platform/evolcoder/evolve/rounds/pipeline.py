"""The evolve stage on Ray Data: seeds into round 0, each pool into the next round, each round with its own manifest.

A round streams: tasks read its pool partition by partition, actors evolve the rows, tasks write them into a folder of this
attempt, split by root. Then ``gather`` compares what the attempt left there with the benchmarks and with all earlier rows,
and merges it, sorted, so that a round's bytes do not depend on the number of workers, on restarts or on the order of rows.
Round 0 is gathered from the seeds in the same way. Nothing but the seeds grows on the driver with the rows.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.data.block import BlockAccessor
from ray.data.datasource import Datasink

from evolcoder.board import read_board, start_board
from evolcoder.console import Progress, Reporter
from evolcoder.endpoint.checking import check_endpoint
from evolcoder.endpoint.journal.compaction import compact
from evolcoder.endpoint.journal.epoch import Epoch
from evolcoder.endpoint.limits.actor import LimitsActor
from evolcoder.endpoint.limits.ledger import RateLimits, TeacherLimits
from evolcoder.endpoint.requests import Endpoint
from evolcoder.errors import DataError, EvolcoderError, IncompleteError
from evolcoder.evolve.copies.decontamination import CONTAMINATION_FILE
from evolcoder.evolve.rounds.batch_evolver import BatchEvolver
from evolcoder.evolve.rounds.display import by_count, kept_rows, say_changes, say_why, show_rounds, show_totals, watching
from evolcoder.evolve.rounds.gather import SMALL_TASK_CPUS, CopyCheck, gather
from evolcoder.evolve.rounds.identity import finished_rounds, round_name, round_plan, round_stages
from evolcoder.evolve.rounds.progress import RoundProgress, together
from evolcoder.evolve.rounds.shards import partition_count, partition_of, read_pool, shard_bytes, write_shard
from evolcoder.evolve.rounds.worker import RoundJob, RowEvolver
from evolcoder.evolve.rules.evolution import CHANGES
from evolcoder.evolve.seeds.load import load_seeds
from evolcoder.records import Instruction
from evolcoder.runs import RunFolder
from evolcoder.settings import EndpointSettings, RunSettings
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Manifest, Stage

STAGE = "evolve"
_ROWS_PER_CALL = 16
"""How many rows of one block Ray Data hands to an async map at once; its default, which is read when it is imported."""
_LONGEST_BLOCK_ROWS = 128
_ROUND_FILES = ("*.arrow", "*.json")
"""What an earlier making of a round left in its folder."""


def evolve(settings: RunSettings, run: RunFolder, endpoints: Sequence[Endpoint], reporter: Reporter) -> list[Manifest]:
    """Make the rounds that are not there yet; returns the manifests of rounds 0 to ``evolve.rounds``.

    ``endpoints`` all serve the teacher's model; there is one for each of ``teacher.endpoints``, else a single one.
    Call it inside ``cluster.ray_session()``. The same command again goes on where this one stopped.

    Raises:
        DataError: the seeds cannot be used.
        EndpointError: the teacher cannot be used; BudgetError: the budget is used up.
        IncompleteError: some rows got no reply.
        RunBusyError: another process evolves this run.
    """
    with run.lock(STAGE):
        seeds = load_seeds(settings.seeds, reporter)
        partitions = partition_count(len(seeds), settings.evolve.rows_per_shard)
        stages = round_stages(settings, run, lambda: seeds)
        manifests = finished_rounds(stages)
        copy_check = CopyCheck.of(settings.evolve) if len(manifests) <= settings.evolve.rounds else None
        if not manifests and copy_check is not None:
            _write_seeds(settings, run, stages[0], seeds, copy_check, reporter)
            manifests = finished_rounds(stages)
        seeds = []  # their identity is known now, and a run may have many
        rows = kept_rows(manifests[0])
        if not rows:
            raise DataError(
                f"None of the {manifests[0].rows:,} seeds is left: each holds a problem of a benchmark, or says what another "
                f"one says; rounds/00/{CONTAMINATION_FILE} shows where. Take other seeds, or name fewer benchmarks in "
                "evolve.decontaminate."
            )
        for number in range(1, len(manifests)):
            reporter.say(f"{round_name(number)} is done: {kept_rows(manifests[number]):,} rows kept, no request is sent")
        if copy_check is not None and len(manifests) <= settings.evolve.rounds:
            for endpoint in endpoints:
                check_endpoint(endpoint)
            with _cluster_of_teacher(settings, run, endpoints) as teacher:
                for number in range(len(manifests), settings.evolve.rounds + 1):
                    this = _Round(settings, run, number, stages[number].pinned(), partitions, rows, copy_check)
                    manifests.append(_make_round(this, teacher, reporter))
        show_rounds(manifests, settings, reporter)
        return manifests


@dataclass(frozen=True)
class _Teacher:
    """What all rounds of one run share."""

    endpoints: Sequence[Endpoint]
    epoch: Epoch
    limits: TeacherLimits
    ledger: Any


@dataclass(frozen=True)
class _Round:
    """A round about to be made."""

    settings: RunSettings
    run: RunFolder
    number: int
    stage: Stage
    partitions: int
    rows: int
    copy_check: CopyCheck

    @property
    def earlier(self) -> list[Folder]:
        return [self.run.round(number) for number in range(self.number)]

    def attempt(self, epoch: Epoch) -> Folder:
        return self.run.root / f"attempts/{self.number:02d}-{epoch.number:06d}"


def _write_seeds(
    settings: RunSettings, run: RunFolder, stage: Stage, seeds: Sequence[Instruction], copy_check: CopyCheck, reporter: Reporter
) -> None:
    """Round 0: the seeds, without those that hold a benchmark's problem or say what another one says."""
    state = stage.state()
    say_why(0, state.kind, state.reason, reporter)
    partitions = partition_count(len(seeds), settings.evolve.rows_per_shard)
    attempt = run.root / "attempts/00"
    attempt.delete()
    shards: list[list[Instruction]] = [[] for _ in range(partitions)]
    for seed in seeds:
        shards[partition_of(seed.root_id, partitions)].append(seed)
    for partition, rows in enumerate(shards):
        write_shard(attempt / f"{partition:05d}", "seeds.arrow", rows)
    with plain_causes():
        merged = gather(attempt, [], stage.begin(*_ROUND_FILES), partitions, copy_check)
    attempt.delete()
    summary = merged.summary(TeacherLimits().usd) | {"without_response": sum(1 for seed in seeds if not seed.response)}
    stage.publish(merged.files, summary)
    if summary["eliminated"]:
        reporter.say(f"{summary['eliminated']:,} of {len(seeds):,} seeds are left out: {by_count(merged.reasons)}")


@contextmanager
def _cluster_of_teacher(settings: RunSettings, run: RunFolder, endpoints: Sequence[Endpoint]) -> Iterator[_Teacher]:
    """Claim the journal, and start the ledger that all workers share."""
    given = settings.teacher
    limits = TeacherLimits(
        tuple(
            RateLimits(
                one.requests_per_minute or given.requests_per_minute,
                one.tokens_per_minute or given.tokens_per_minute,
            )
            for one in given.endpoints or (EndpointSettings(),)
        ),
        given.budget_usd,
        given.usd_per_million_input_tokens,
        given.usd_per_million_output_tokens,
    )
    epoch = Epoch.claim(run.journal)
    actor = ray.remote(LimitsActor).options(num_cpus=0, max_restarts=-1, max_task_retries=-1)
    ledger = actor.remote(limits, run.journal)
    try:
        yield _Teacher(endpoints, epoch, limits, ledger)
    finally:
        ray.kill(ledger)
    (run.root / "attempts").delete()  # what runs that were killed left there, too


def _make_round(this: _Round, teacher: _Teacher, reporter: Reporter) -> Manifest:
    state = this.stage.state()
    say_why(this.number, state.kind, state.reason, reporter)
    with plain_causes(), reporter.progress(round_name(this.number), this.rows) as progress:
        evolve_pool = _evolve_by_batches if this.settings.teacher.batch else _evolve_on_workers
        totals, stop = evolve_pool(this, teacher, progress, reporter)
        if stop is not None:
            done = totals["kept"] + totals["eliminated"]
            raise type(stop)(f"{stop.message} {done:,} of {this.rows:,} rows of {round_name(this.number)} are there.")
        folder = this.stage.begin(*_ROUND_FILES)
        merged = gather(this.attempt(teacher.epoch), this.earlier, folder, this.partitions, this.copy_check)
        this.attempt(teacher.epoch).delete()
    if totals["damaged_lines"]:
        reporter.warn("the journal held lines that were cut short; their requests were sent again")
    if merged.failures:
        fault, rows = merged.failures.most_common(1)[0]
        raise IncompleteError(
            f"{merged.failures.total():,} of {this.rows:,} rows of {round_name(this.number)} got no reply, {rows:,} of them "
            f"for this reason: {merged.examples[fault].rstrip('.')}. The other replies are kept; the same command again sends "
            "only what is missing."
        )
    say_changes(totals, merged.reasons, this.settings.teacher, reporter)
    manifest = this.stage.publish(merged.files, merged.summary(teacher.limits.usd))
    compact(this.run.journal, f"{this.number:02d}")
    return manifest


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


def _evolve_by_batches(
    this: _Round, teacher: _Teacher, progress: Progress, reporter: Reporter
) -> tuple[Counter[str], EvolcoderError | None]:
    """Bring every row of the pool through the Batch API; returns the totals, and why the run must stop, if it must."""
    attempt = this.attempt(teacher.epoch).make()
    totals: Counter[str] = Counter()
    written = count()

    def changed(now: Counter[str]) -> None:
        totals.clear()
        totals.update(now)
        show_totals(totals, progress, teacher.limits)

    async def act() -> None:
        job = _job(this, teacher, this.settings.teacher.max_concurrency)
        evolver = BatchEvolver(job, teacher.ledger, this.settings.teacher.batch_poll_seconds, changed)
        try:
            if left := await evolver.take_left():
                reporter.say(f"{left:,} replies of batches that an earlier run left were taken")
            pool = (row for partition in range(this.partitions) for row in read_pool(this.earlier, partition))
            await evolver.evolve(pool, lambda rows: _write_rows(attempt, this.partitions, f"{next(written):06d}", rows))
        finally:
            await evolver.close()

    try:
        asyncio.run(act())
    except EvolcoderError as error:
        return totals, error
    return totals, None


def _evolve_on_workers(
    this: _Round, teacher: _Teacher, progress: Progress, reporter: Reporter
) -> tuple[Counter[str], EvolcoderError | None]:
    """Bring every row of the pool through the workers; returns the totals, and why the run must stop, if it must."""
    board = start_board()

    def read() -> RoundProgress | None:
        reports = read_board(board)
        return None if reports is None else together(reports.values())

    try:
        with watching(read, progress, teacher.limits, reporter):
            changes = _evolve_pool(this, teacher, board)
        so_far = together(ray.get(board.read.remote()).values())
        return so_far.totals + changes, so_far.stop
    finally:
        ray.kill(board)


def _job(this: _Round, teacher: _Teacher, concurrency: int) -> RoundJob:
    return RoundJob(
        plan=round_plan(this.settings, this.number, teacher.endpoints[0].model),
        endpoints=tuple(teacher.endpoints),
        concurrency=concurrency,
        journal=this.run.journal,
        part=f"{this.number:02d}",
        epoch=teacher.epoch,
        limits=teacher.limits,
    )


def _evolve_pool(this: _Round, teacher: _Teacher, board: Any) -> Counter[str]:
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
    job = _job(this, teacher, share)
    earlier = this.earlier

    def pool_rows(row: dict[str, int]) -> Iterable[dict[str, Any]]:
        return [member.to_row() for member in read_pool(earlier, int(row["id"]))]

    pool = ray.data.range(this.partitions, override_num_blocks=this.partitions).flat_map(pool_rows, num_cpus=SMALL_TASK_CPUS)
    evolved = pool.repartition(target_num_rows_per_block=block_rows).map(
        RowEvolver,
        fn_constructor_args=(job, board, teacher.ledger),
        compute=ActorPoolStrategy(size=workers, max_concurrent_calls_per_actor=calls, max_tasks_in_flight_per_actor=calls + 1),
        num_cpus=SMALL_TASK_CPUS,
    )
    sink = _AttemptSink(this.attempt(teacher.epoch).make(), this.partitions)
    evolved.write_datasink(sink, ray_remote_args={"num_cpus": SMALL_TASK_CPUS})
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
            _write_rows(self._attempt, self._partitions, f"{ctx.task_idx:06d}-{index:04d}", members)
            for row in rows:
                changes.update({name: row[name] for name in CHANGES})
        return changes

    def on_write_complete(self, write_result: Any) -> None:
        self.changes = sum(write_result.write_returns, Counter())


def _write_rows(attempt: Folder, partitions: int, name: str, rows: Sequence[Instruction]) -> None:
    by_partition: dict[int, list[Instruction]] = {}
    for row in rows:
        by_partition.setdefault(partition_of(row.root_id, partitions), []).append(row)
    for partition, members in by_partition.items():
        attempt.write_bytes(f"{partition:05d}/{name}.arrow", shard_bytes(members))
