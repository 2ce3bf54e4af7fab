"""Before training: which rows there are, encoded once to a file that all workers read. Memory does not grow with the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from typing import Any

from evolcoder.errors import DataError, RunFolderError
from evolcoder.run.variants import Variant
from evolcoder.settings.run import TrainSettings
from evolcoder.storage.arrow_files import arrow_writer, read_batches
from evolcoder.storage.folders import Folder
from evolcoder.storage.hashes import stable_hash
from evolcoder.storage.stage import Manifest, verified_manifest
from evolcoder.train.encode import ENCODED_SCHEMA, encode, to_batch
from evolcoder.train.identity import DATASET
from evolcoder.train.job import ENCODED_FILE, HELD_OUT_FILE

ROWS_PER_BATCH = 1000
EXAMPLES = 3
_TEXTS = ("instruction", "input", "response")
_texts: Callable[[Mapping[str, Any]], tuple[str, str, str]] = itemgetter(*_TEXTS)


@dataclass(frozen=True, slots=True)
class Prepared:
    """``rows`` are trained on and have ``tokens``; ``held_out`` ones are not. ``overlong`` ones were too long, and were
    cut or dropped as was asked, ``examples`` are ids of some; ``dropped`` ones had no room for a response.
    """

    rows: int
    overlong: int
    examples: list[str]
    dropped: int
    tokens: int
    held_out: int = 0


def dataset_manifest(folder: Folder) -> Manifest:
    """The manifest of the training set, its files verified.

    Raises:
        RunFolderError: there is none, or its files are not what it says.
    """
    manifest = verified_manifest(folder)
    if manifest is None:
        raise RunFolderError(f"{folder} holds no training set yet; run `evolcoder evolve` first.")
    return manifest


def check_rounds(dataset: Manifest, folder: Folder, inputs: Mapping[str, str]) -> None:
    """See that the training set was merged from the rounds that a training names as its inputs; it may hold later ones too.

    Raises:
        RunFolderError: it was not.
    """
    lacking = [name for name, content in inputs.items() if name != DATASET and dataset.inputs.get(name) != content]
    if lacking:
        raise RunFolderError(f"{folder} was merged before {', '.join(lacking)} was made; run `evolcoder evolve` first.")


def prepare(
    dataset: Folder,
    manifest: Manifest,
    variant: Variant,
    tokenizer: Any,
    settings: TrainSettings,
    work: Folder,
    vocabulary: int | None = None,
) -> Prepared:
    """Encode the rows that the variant takes into ``work``, in the order of the training set; those that are held out into a
    file of their own.

    Args:
        vocabulary: rows of the model's embedding, if known.

    Raises:
        DataError: no row is left to train on.
        ModelError: the tokenizer does not suit the model.
    """
    length = settings.sequence_length
    counts: Counter[str] = Counter()
    examples: list[str] = []
    work.make()
    ids = None if variant.matched is None else _matching_ids(dataset, manifest, variant, tokenizer, length)
    with (
        arrow_writer(work, ENCODED_FILE, ENCODED_SCHEMA) as trained,
        arrow_writer(work, HELD_OUT_FILE, ENCODED_SCHEMA) as held_out,
    ):
        for batch in _batches(dataset, manifest):
            taken = [row for row in batch if _is_taken(row, variant) and (ids is None or row["id"] in ids)]
            for writer, kind in ((trained, "rows"), (held_out, "held_out")):
                its = [row for row in taken if is_held_out(row["root_id"], settings.held_out) == (writer is held_out)]
                texts, its_ids = [_texts(row) for row in its], [row["id"] for row in its]
                encoded = encode(texts, tokenizer, length, vocabulary, settings.overlong != "truncate", its_ids)
                writer.write_batch(to_batch(encoded.rows))
                examples += [its_ids[place] for place in encoded.overlong[: EXAMPLES - len(examples)]]
                counts["overlong"] += len(encoded.overlong)
                counts[kind] += len(encoded.rows)
                counts["dropped"] += encoded.dropped
                if writer is trained:
                    counts["tokens"] += sum(len(row.tokens) for row in encoded.rows)
    if examples and settings.overlong == "error":
        raise DataError(
            f"{counts['overlong']:,} rows of {dataset} are longer than train.sequence_length={length}, such as "
            f"{', '.join(examples)}; raise it, or set train.overlong to truncate or drop."
        )
    if not counts["rows"]:
        why = "it is empty; look at the rejects of the rounds"
        if counts["dropped"] or examples:
            why = f"all {counts['dropped'] + counts['overlong']} are too long for train.sequence_length={length}; raise it"
        raise DataError(f"No row of {variant.label} in {dataset} can be trained on: {why}.")
    if settings.held_out and not counts["held_out"]:
        raise DataError(
            f"train.held_out={settings.held_out} holds out none of the few seed families of {variant.label}; raise it, or set "
            "it to 0."
        )
    return Prepared(counts["rows"], counts["overlong"], examples, counts["dropped"], counts["tokens"], counts["held_out"])


def is_held_out(root_id: str, share: float) -> bool:
    """Whether a seed's family is held out: by a hash, so that it is in every round, in every variant and under every seed."""
    return int(stable_hash("held out", root_id)[:12], 16) < share * 16**12


def _is_taken(row: Mapping[str, Any], variant: Variant) -> bool:
    return row["round"] in variant.rounds and row["operator"] != variant.leave_out


def _matching_ids(dataset: Folder, manifest: Manifest, variant: Variant, tokenizer: Any, sequence_length: int) -> set[str]:
    """Of the variant's rows so many that they are no more, in rows or tokens, than the smallest of the matched rounds holds.

    Which ones is drawn by a hash of their ids, so that it depends on no seed and not on their order.
    """
    sizes = dict.fromkeys(variant.matched_rounds, 0)
    own: dict[str, int] = {}
    for batch in _batches(dataset, manifest):
        for row in batch:
            if row["round"] in sizes:
                size = 1
                if variant.matched == "tokens":
                    size = sum(len(encoded.tokens) for encoded in encode([_texts(row)], tokenizer, sequence_length).rows)
                sizes[row["round"]] += size
                if _is_taken(row, variant):
                    own[row["id"]] = size
    ordered = sorted(own, key=lambda row_id: stable_hash("matched", row_id))
    totals = accumulate(own[row_id] for row_id in ordered)
    return {row_id for row_id, total in zip(ordered, totals, strict=True) if total <= min(sizes.values())}


def _batches(dataset: Folder, manifest: Manifest) -> Iterator[list[dict[str, Any]]]:
    """The rows of the set in its order, a few at a time."""
    for entry in manifest.files:
        if entry.path.startswith("train-") and entry.path.endswith(".arrow"):
            for batch in read_batches(dataset, entry.path, ["id", "root_id", "round", "operator", *_TEXTS]):
                for start in range(0, batch.num_rows, ROWS_PER_BATCH):
                    yield batch.slice(start, ROWS_PER_BATCH).to_pylist()
