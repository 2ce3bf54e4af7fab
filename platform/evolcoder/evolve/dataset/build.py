"""The training set of a run: the kept rows of all its rounds in one folder, in the formats that trainers read.

    train-*.arrow         records.Instruction, sorted by round and id; what our own train stage reads
    data/train-*.parquet  the same rows, for the hub and `datasets.load_dataset`
    train.jsonl           Alpaca format: instruction, input, output; what LLaMA-Factory and axolotl read
    dataset_info.json     says so to LLaMA-Factory
    contamination.json    which rows of which round fell for which benchmark problem, with the evidence
    README.md             the data set card

Needs no Ray: rounds are read one at a time.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count, islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evolcoder.console import Reporter
from evolcoder.errors import RunFolderError
from evolcoder.evolve.copies.decontamination import CONTAMINATION_FILE, findings
from evolcoder.evolve.copies.dedup import task_hash
from evolcoder.evolve.dataset.card import dataset_card
from evolcoder.evolve.rounds.identity import round_stages
from evolcoder.evolve.rounds.shards import read_instructions, write_shard
from evolcoder.records import INSTRUCTION_SCHEMA, Instruction
from evolcoder.run.folder import RunFolder
from evolcoder.settings.run import RunSettings
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import FileEntry, Manifest, Stage, describe_file

STAGE = "dataset"
FORMAT = 2
_CARD, _JSONL, _INFO = "README.md", "train.jsonl", "dataset_info.json"
_ROWS_PER_PARQUET = 50_000


def build_dataset(settings: RunSettings, run: RunFolder, reporter: Reporter, folder: Folder | None = None) -> Manifest:
    """Merge the kept rows of rounds 0 to ``evolve.rounds``; does nothing when that is done. ``folder`` is another place for it.

    Of rows whose instruction and input are the same but for case, white space and closing punctuation, the one of the
    lowest round and id is taken. Rows without a response (seeds, at times) have nothing to train on and are left out.

    Raises:
        RunFolderError: a round is not there yet.
    """
    sources = round_stages(settings, run)
    stage = dataset_stage(settings, folder or run.dataset, sources)
    with run.lock(STAGE):
        rounds: list[Manifest] = []
        for source in sources:
            manifest = source.manifest()
            if manifest is None:
                raise RunFolderError(f"{source.kind} in {source.folder} is not there yet; run `evolcoder evolve` first.")
            rounds.append(manifest)
        state = stage.state()
        if state.done and state.manifest is not None:
            reporter.say(f"the training set is done: {state.manifest.summary['rows']:,} rows")
            return state.manifest
        return _build(settings, run, stage.pinned(), rounds, reporter)


def dataset_stage(settings: RunSettings, folder: Folder, rounds: Sequence[Stage]) -> Stage:
    """The training set in ``folder`` that is made from these rounds."""
    identity = {"rounds": settings.evolve.last_round, "rows_per_shard": settings.evolve.rows_per_shard, "format": FORMAT}
    return Stage(STAGE, folder, identity, {stage.kind: stage for stage in rounds}, ("pyarrow",))


def _build(settings: RunSettings, run: RunFolder, stage: Stage, rounds: Sequence[Manifest], reporter: Reporter) -> Manifest:
    folder = stage.begin(_CARD, _JSONL, _INFO, CONTAMINATION_FILE, "data", "train*")
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    rows = _merged_rows(run, rounds, counts)
    files: list[FileEntry | str] = [*_write(folder, rows, settings.evolve.rows_per_shard), _CARD, _JSONL, _INFO]
    contamination = _contamination(run, rounds)
    summary = {
        "rows": counts["rounds"].total(),
        "rows_by_round": {str(number): counts["rounds"][str(number)] for number in range(len(rounds))},
        "rows_by_operator": dict(sorted(counts["operators"].items())),
        "duplicates": counts["left_out"]["duplicates"],
        "without_response": counts["left_out"]["without_response"],
        "contaminated": contamination["rows"] if contamination else None,
    }
    folder.write_text(_CARD, dataset_card(settings, rounds, summary, contamination))
    columns = {"prompt": "instruction", "query": "input", "response": "output"}
    info = {settings.name: {"file_name": _JSONL, "formatting": "alpaca", "columns": columns}}
    folder.write_text(_INFO, json.dumps(info, indent=1) + "\n")
    if contamination is not None:
        folder.write_text(CONTAMINATION_FILE, json.dumps(contamination, indent=1) + "\n")
        files.append(CONTAMINATION_FILE)
    reporter.say(
        f"training set: {summary['rows']:,} rows of {len(rounds)} rounds; left out: {summary['duplicates']:,} exact "
        f"duplicates, {summary['without_response']:,} without a response"
    )
    return stage.publish(files, summary)


def _merged_rows(run: RunFolder, rounds: Sequence[Manifest], counts: Mapping[str, Counter[str]]) -> Iterator[Instruction]:
    """The rows of the training set in their order; counts them by round and operator, and what was left out on the way.

    It is a filter: which rows of a round are taken, and in which order, depends on that round and earlier ones alone. Trainings
    rely on it, for they are made from the rounds that they learn from, and stay done when a later one is added.
    """
    seen: set[str] = set()
    for number, manifest in enumerate(rounds):
        shards = [entry.path for entry in manifest.files if entry.path.startswith("part-")]
        rows = (row for shard in shards for row in read_instructions(run.round(number), shard))
        for row in sorted(rows, key=lambda row: row.id):
            task = task_hash(row)
            if not row.response.strip():
                counts["left_out"]["without_response"] += 1
            elif task in seen:
                counts["left_out"]["duplicates"] += 1
            else:
                seen.add(task)
                counts["rounds"][str(number)] += 1
                counts["operators"][row.operator] += 1
                yield row


def _write(folder: Folder, rows: Iterable[Instruction], rows_per_shard: int) -> list[FileEntry]:
    """Write all rows in every format in one pass; returns the Arrow shards and the Parquet files.

    A new Parquet file begins whenever one is full. There is always one, though it be empty.
    """
    files: list[FileEntry] = []
    parquet_names: list[str] = []

    def new_parquet() -> pq.ParquetWriter:
        parquet_names.append(f"data/train-{len(parquet_names):05d}.parquet")
        return pq.ParquetWriter(f"{folder.path}/{parquet_names[-1]}", INSTRUCTION_SCHEMA, filesystem=folder.filesystem)

    (folder / "data").make()
    parquet, rows_in_parquet = new_parquet(), 0
    left = iter(rows)
    with folder.open_output(_JSONL) as jsonl:
        for number in count():
            shard = list(islice(left, rows_per_shard))
            if not shard:
                break
            files += write_shard(folder, f"train-{number:05d}.arrow", shard)
            if rows_in_parquet and rows_in_parquet + len(shard) > _ROWS_PER_PARQUET:
                parquet.close()
                parquet, rows_in_parquet = new_parquet(), 0
            parquet.write_table(pa.Table.from_pylist([row.to_row() for row in shard], schema=INSTRUCTION_SCHEMA))
            rows_in_parquet += len(shard)
            for row in shard:
                example = {"instruction": row.instruction, "input": row.input, "output": row.response}
                jsonl.write(json.dumps(example, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
    parquet.close()
    return files + [describe_file(folder, name) for name in parquet_names]


def _contamination(run: RunFolder, rounds: Sequence[Manifest]) -> dict[str, Any] | None:
    """What the rounds found, put together; None when their rows were compared with no benchmark."""
    found = [
        (number, json.loads(run.round(number).read_text(CONTAMINATION_FILE)))
        for number, manifest in enumerate(rounds)
        if any(entry.path == CONTAMINATION_FILE for entry in manifest.files)
    ]
    if not found:
        return None
    return findings(
        found[-1][1]["rules"],
        found[-1][1]["benchmarks"],
        sum(one["rows_compared"] for _, one in found),
        [{"round": number, **hit} for number, one in found for hit in one["hits"]],
    )
