"""The evolve stage: seeds into round 0, each pool into the next round, each round with its own manifest.

The rows of a pool are evolved into a folder of this attempt, split by root: on Ray (``on_ray``), by this process when they are
few (``in_driver``), or by the Batch API (``batch_evolver``). Then ``gather`` compares what the attempt left there with the
benchmarks and with all earlier rows, and merges it, sorted, so that a round's bytes do not depend on where and by how many
workers it was made, on restarts or on the order of rows. Round 0 is gathered from the seeds in the same way.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import count
from typing import TYPE_CHECKING

from evolcoder.cluster import ray_session
from evolcoder.console import Progress, Reporter
from evolcoder.endpoint.checking import check_endpoint
from evolcoder.endpoint.journal.epoch import Epoch
from evolcoder.endpoint.journal.writer import compact
from evolcoder.endpoint.limits.ledger import RateLimits, TeacherLimits
from evolcoder.endpoint.requests import Endpoint
from evolcoder.errors import DataError, EvolcoderError, IncompleteError
from evolcoder.evolve.copies.decontamination import CONTAMINATION_FILE
from evolcoder.evolve.rounds.batch_evolver import BatchEvolver
from evolcoder.evolve.rounds.display import by_count, kept_rows, say_changes, say_why, show_rounds, show_totals
from evolcoder.evolve.rounds.gather import CopyCheck, gather
from evolcoder.evolve.rounds.identity import finished_rounds, round_stages
from evolcoder.evolve.rounds.in_driver import MOST_ROWS, InDriver
from evolcoder.evolve.rounds.shards import partition_count, read_pool, write_rows
from evolcoder.evolve.rounds.worker import Round, Teacher
from evolcoder.evolve.seeds.load import load_seeds
from evolcoder.records import Instruction
from evolcoder.run.folder import RunFolder
from evolcoder.settings.evolve import EndpointSettings
from evolcoder.settings.run import RunSettings
from evolcoder.storage.stage import Manifest, Stage

if TYPE_CHECKING:
    from evolcoder.evolve.rounds.on_ray import OnRay

STAGE = "evolve"
_ROUND_FILES = ("*.arrow", "*.json")
"""What an earlier making of a round left in its folder."""


def evolve(settings: RunSettings, run: RunFolder, endpoints: Sequence[Endpoint], reporter: Reporter) -> list[Manifest]:
    """Make the rounds that are not there yet; returns the manifests of rounds 0 to ``evolve.rounds``.

    ``endpoints`` all serve the teacher's model; there is one for each of ``teacher.endpoints``, else a single one.
    The same command again goes on where this one stopped.

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
        with _place_for(settings, len(seeds)) if len(manifests) <= settings.evolve.last_round else nullcontext() as place:
            copy_check = CopyCheck.of(settings.evolve, place) if place is not None else None
            if not manifests and copy_check is not None:
                _write_seeds(run, stages[0], seeds, partitions, copy_check, reporter)
                manifests = finished_rounds(stages)
            seeds = []  # their identity is known now, and a run may have many
            rows = kept_rows(manifests[0])
            if not rows:
                raise DataError(
                    f"None of the {manifests[0].rows:,} seeds is left: each holds a problem of a benchmark, or says what "
                    f"another one says; rounds/00/{CONTAMINATION_FILE} shows where. Take other seeds, or name fewer benchmarks "
                    "in evolve.decontaminate."
                )
            for manifest in manifests[1:]:
                reporter.say(f"{manifest.stage} is done: {kept_rows(manifest):,} rows kept, no request is sent")
            if copy_check is not None and len(manifests) <= settings.evolve.last_round:
                for endpoint in endpoints:
                    check_endpoint(endpoint)
                with _teacher_of(settings, run, endpoints, copy_check.place) as teacher:
                    for number in range(len(manifests), settings.evolve.last_round + 1):
                        this = Round(settings, run, number, stages[number].pinned(), partitions, rows, teacher)
                        manifests.append(_make_round(this, copy_check, reporter))
        show_rounds(manifests, settings, reporter)
        return manifests


@contextmanager
def _place_for(settings: RunSettings, rows: int) -> Iterator[InDriver | OnRay]:
    """Where this run's rows are evolved: here when they are few and nothing asks for Ray, else on Ray."""
    on_cluster = os.environ.get("RAY_ADDRESS", "local") not in ("", "local")
    ray = sys.modules.get("ray")
    if rows > MOST_ROWS or settings.evolve.workers is not None or on_cluster or (ray is not None and ray.is_initialized()):
        with ray_session():
            from evolcoder.evolve.rounds.on_ray import OnRay  # imports Ray, which the session must set up first

            yield OnRay()
    else:
        yield InDriver()


def _write_seeds(
    run: RunFolder, stage: Stage, seeds: Sequence[Instruction], partitions: int, copy_check: CopyCheck, reporter: Reporter
) -> None:
    """Round 0: the seeds, without those that hold a benchmark's problem or say what another one says."""
    say_why(stage, reporter)
    attempt = run.root / "attempts/00"
    attempt.delete()
    write_rows(attempt, partitions, "seeds", seeds)
    merged = gather(attempt, [], stage.begin(*_ROUND_FILES), partitions, copy_check)
    attempt.delete()
    summary = merged.summary(TeacherLimits().usd) | {"without_response": sum(1 for seed in seeds if not seed.response)}
    stage.publish(merged.files, summary)
    if summary["eliminated"]:
        reporter.say(f"{summary['eliminated']:,} of {len(seeds):,} seeds are left out: {by_count(merged.reasons)}")


@contextmanager
def _teacher_of(
    settings: RunSettings, run: RunFolder, endpoints: Sequence[Endpoint], place: InDriver | OnRay
) -> Iterator[Teacher]:
    """Claim the journal, and start the ledger of the limits."""
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
    with place.ledger(limits, run.journal) as ledger:
        yield Teacher(endpoints, epoch, limits, ledger)
    (run.root / "attempts").delete()  # what runs that were killed left there, too


def _make_round(this: Round, copy_check: CopyCheck, reporter: Reporter) -> Manifest:
    started = time.monotonic()
    say_why(this.stage, reporter)
    with reporter.progress(this.stage.kind, this.rows) as progress:
        evolve_pool = _evolve_by_batches if this.settings.teacher.batch else copy_check.place.evolve_pool
        totals, stop = evolve_pool(this, progress, reporter)
        if stop is not None:
            done = totals["kept"] + totals["eliminated"]
            raise type(stop)(f"{stop.message} {done:,} of {this.rows:,} rows of {this.stage.kind} are there.")
        folder = this.stage.begin(*_ROUND_FILES)
        merged = gather(this.attempt, this.earlier, folder, this.partitions, copy_check)
        this.attempt.delete()
    if totals["damaged_lines"]:
        reporter.warn("the journal held lines that were cut short; their requests were sent again")
    if merged.failures:
        fault, rows = merged.failures.most_common(1)[0]
        raise IncompleteError(
            f"{merged.failures.total():,} of {this.rows:,} rows of {this.stage.kind} got no reply, {rows:,} of them "
            f"for this reason: {merged.examples[fault].rstrip('.')}. The other replies are kept; the same command again sends "
            "only what is missing."
        )
    say_changes(totals, merged.reasons, this.settings.teacher, reporter)
    took = {"seconds": round(time.monotonic() - started, 1)}
    manifest = this.stage.publish(merged.files, merged.summary(this.teacher.limits.usd) | took)
    compact(this.run.journal, f"{this.number:02d}")
    return manifest


def _evolve_by_batches(this: Round, progress: Progress, reporter: Reporter) -> tuple[Counter[str], EvolcoderError | None]:
    """Bring every row of the pool through the Batch API; returns the totals, and why the run must stop, if it must."""
    attempt = this.attempt.make()
    totals: Counter[str] = Counter()
    written = count()

    def changed(now: Counter[str]) -> None:
        totals.clear()
        totals.update(now)
        show_totals(totals, progress, this.teacher.limits)

    async def act() -> None:
        job = this.job(this.settings.teacher.max_concurrency)
        evolver = BatchEvolver(job, this.teacher.ledger, this.settings.teacher.batch_poll_seconds, changed)
        try:
            if left := await evolver.take_left():
                reporter.say(f"{left:,} replies of batches that an earlier run left were taken")
            pool = (row for partition in range(this.partitions) for row in read_pool(this.earlier, partition))
            await evolver.evolve(pool, lambda rows: write_rows(attempt, this.partitions, f"{next(written):06d}", rows))
        finally:
            await evolver.close()

    try:
        asyncio.run(act())
    except EvolcoderError as error:
        return totals, error
    return totals, None
