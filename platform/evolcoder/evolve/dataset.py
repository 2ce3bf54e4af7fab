"""The training set of a run: the kept rows of all its rounds in one folder, in the formats that trainers read.

    train-*.arrow    records.Instruction, sorted by round and id; what our own train stage reads
    train.parquet    the same rows, for the hub and data tools
    train.jsonl      Alpaca format: instruction, input, output
    README.md        the data set card

Needs no Ray: rounds are read one at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from evolcoder.console import Reporter
from evolcoder.errors import RunFolderError
from evolcoder.evolve.card import dataset_card
from evolcoder.evolve.elimination import normalised
from evolcoder.evolve.identity import round_inputs, round_name
from evolcoder.evolve.shards import part_name, read_instructions, write_shard
from evolcoder.records import INSTRUCTION_SCHEMA, Instruction
from evolcoder.runs import FileEntry, Folder, Manifest, RunFolder, describe_file, publish_manifest, read_manifest, stage_state
from evolcoder.settings import RunSettings

STAGE = "dataset"
FORMAT = 1
_CARD, _JSONL, _PARQUET = "README.md", "train.jsonl", "train.parquet"


def build_dataset(settings: RunSettings, run: RunFolder, reporter: Reporter) -> Manifest:
    """Merge the kept rows of rounds 0 to ``evolve.rounds``; does nothing when that is done.

    Of rows whose instruction and input are the same but for case, white space and closing punctuation, the one of the
    lowest round and id is taken. Rows without a response (seeds, at times) have nothing to train on and are left out.

    Raises:
        RunFolderError: a round is not there yet.
    """
    rounds = _rounds(settings, run)
    identity = {"rounds": settings.evolve.rounds, "rows_per_shard": settings.evolve.rows_per_shard, "format": FORMAT}
    inputs = round_inputs(rounds)
    with run.lock(STAGE):
        state = stage_state(run.dataset, identity, inputs)
        if state.done and state.manifest is not None:
            reporter.say(f"the training set is done: {state.manifest.summary['rows']:,} rows")
            return state.manifest
        return _build(settings, run, rounds, identity, inputs, reporter)


def _rounds(settings: RunSettings, run: RunFolder) -> list[Manifest]:
    manifests = []
    for number in range(settings.evolve.rounds + 1):
        manifest = read_manifest(run.round(number))
        if manifest is None:
            raise RunFolderError(f"{round_name(number)} of {run.root} is not there yet; run `evolcoder evolve` first.")
        manifests.append(manifest)
    return manifests


def _build(
    settings: RunSettings,
    run: RunFolder,
    rounds: Sequence[Manifest],
    identity: dict[str, Any],
    inputs: dict[str, str],
    reporter: Reporter,
) -> Manifest:
    folder = run.dataset
    for name in ("manifest.json", _CARD, _JSONL, _PARQUET, *folder.names("train-*.arrow")):
        folder.delete(name)
    folder.make()
    merge = _Merge(run, rounds)
    files = _write(folder, merge, settings.evolve.rows_per_shard)
    summary = merge.summary()
    folder.write_text(_CARD, dataset_card(settings, rounds, summary))
    files += [describe_file(folder, name) for name in (_CARD, _JSONL, _PARQUET)]
    reporter.say(
        f"training set: {summary['rows']:,} rows of {len(rounds)} rounds; left out: {summary['duplicates']:,} exact "
        f"duplicates, {summary['without_response']:,} without a response"
    )
    return publish_manifest(folder, STAGE, identity, inputs, files, summary, packages=["pyarrow"])


@dataclass
class _Merge:
    """The rows of the training set in their order, and what was left out on the way; iterate over it once."""

    run: RunFolder
    rounds: Sequence[Manifest]
    kept: Counter[int] = field(default_factory=Counter)
    operators: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    without_response: int = 0
    _seen: set[bytes] = field(default_factory=set)

    def __iter__(self) -> Iterator[Instruction]:
        for number, manifest in enumerate(self.rounds):
            for row in sorted(_kept_rows(self.run.round(number), manifest), key=lambda row: row.id):
                if self._wanted(row):
                    self.kept[number] += 1
                    self.operators[row.operator] += 1
                    yield row

    def _wanted(self, row: Instruction) -> bool:
        if not row.response.strip():
            self.without_response += 1
            return False
        text = f"{normalised(row.instruction)}\0{normalised(row.input)}"
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
        if digest in self._seen:
            self.duplicates += 1
            return False
        self._seen.add(digest)
        return True

    def summary(self) -> dict[str, Any]:
        return {
            "rows": self.kept.total(),
            "rows_by_round": {str(number): self.kept[number] for number in range(len(self.rounds))},
            "rows_by_operator": dict(sorted(self.operators.items())),
            "duplicates": self.duplicates,
            "without_response": self.without_response,
        }


def _kept_rows(folder: Folder, manifest: Manifest) -> Iterator[Instruction]:
    prefix = part_name(0).partition("-")[0]
    for entry in manifest.files:
        if entry.path.startswith(prefix):
            yield from read_instructions(folder, entry.path)


def _write(folder: Folder, rows: Iterable[Instruction], rows_per_shard: int) -> list[FileEntry]:
    """Write all formats in one pass; returns the Arrow shards."""
    files: list[FileEntry] = []
    with (
        folder.open_output(_JSONL) as jsonl,
        folder.open_output(_PARQUET) as parquet_file,
        pq.ParquetWriter(parquet_file, INSTRUCTION_SCHEMA) as parquet,
    ):
        for number, shard in enumerate(_shards(rows, rows_per_shard)):
            files += write_shard(folder, f"train-{number:05d}.arrow", shard)
            parquet.write_table(pa.Table.from_pylist([row.to_row() for row in shard], schema=INSTRUCTION_SCHEMA))
            _write_alpaca(jsonl, shard)
    return files


def _shards(rows: Iterable[Instruction], size: int) -> Iterator[list[Instruction]]:
    shard: list[Instruction] = []
    for row in rows:
        shard.append(row)
        if len(shard) == size:
            yield shard
            shard = []
    if shard:
        yield shard


def _write_alpaca(file: IO[bytes], rows: Iterable[Instruction]) -> None:
    for row in rows:
        example = {"instruction": row.instruction, "input": row.input, "output": row.response}
        file.write(json.dumps(example, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
