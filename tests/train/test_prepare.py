from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from evolcoder.errors import DataError, RunFolderError
from evolcoder.runs import RunFolder
from evolcoder.train.job import ENCODED_FILE
from evolcoder.train.loop import EncodedRows
from evolcoder.train.prepare import dataset_manifest, prepare


def encoded_texts(run: RunFolder, rounds: int, tokenizer: Any) -> list[str]:
    work = run.root / "work"
    prepare(run.dataset, dataset_manifest(run), rounds, tokenizer, 500, work)
    rows = EncodedRows(work)
    return [tokenizer.decode(rows[n].tokens[rows[n].prompt_tokens :]) for n in range(len(rows))]


def test_rows_up_to_the_round_are_encoded_in_order(
    make_run: Callable[..., Any], row: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    _, run = make_run(rows=[row(0, 0, "a", "A"), row(1, 0, "b", "B"), row(2, 1, "c", "C"), row(3, 2, "d", "D")])
    assert encoded_texts(run, 1, tiny_tokenizer) == ["A<|im_end|>", "B<|im_end|>", "C<|im_end|>"]
    assert encoded_texts(run, 0, tiny_tokenizer) == ["A<|im_end|>", "B<|im_end|>"]


def test_what_was_cut_and_left_out_is_counted(
    make_run: Callable[..., Any], row: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    _, run = make_run(rows=[row(0, 0, "a", "A"), row(1, 0, "b", "B" * 500), row(2, 0, "c" * 500, "C")])
    prepared = prepare(run.dataset, dataset_manifest(run), 0, tiny_tokenizer, 200, run.root / "work")
    assert (prepared.rows, prepared.truncated, prepared.dropped) == (2, 1, 1)


def test_a_run_without_a_training_set_says_what_to_run(make_run: Callable[..., Any]) -> None:
    _, run = make_run()
    run.dataset.delete("manifest.json")
    with pytest.raises(RunFolderError, match="evolcoder evolve"):
        dataset_manifest(run)


def test_a_damaged_training_set_is_refused(make_run: Callable[..., Any]) -> None:
    _, run = make_run()
    run.dataset.write_bytes("train-00001.arrow", b"x")
    with pytest.raises(RunFolderError, match="damaged: train-00001"):
        dataset_manifest(run)


def test_a_training_set_that_leaves_no_row_is_refused(
    make_run: Callable[..., Any], row: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    _, run = make_run(rows=[row(0, 0, "c" * 500, "C")])
    with pytest.raises(DataError, match=r"all 1 prompts fill train\.sequence_length=200"):
        prepare(run.dataset, dataset_manifest(run), 0, tiny_tokenizer, 200, run.root / "work")
    _, empty = make_run("empty", rows=[])
    with pytest.raises(DataError, match="it is empty"):
        prepare(empty.dataset, dataset_manifest(empty), 0, tiny_tokenizer, 200, empty.root / "work")


def test_rows_are_read_alike_from_other_storage(make_run: Callable[..., Any], tiny_tokenizer: Any) -> None:
    import pyarrow.fs as pafs

    from evolcoder.storage.folders import Folder

    _, run = make_run()
    local = run.root / "work"
    prepare(run.dataset, dataset_manifest(run), 1, tiny_tokenizer, 500, local)
    other = Folder(pafs.SubTreeFileSystem(str(local.local_path.parent), pafs.LocalFileSystem()), "work")
    assert not other.is_local
    assert other.exists(ENCODED_FILE)
    assert [EncodedRows(other)[n] for n in range(12)] == [EncodedRows(local)[n] for n in range(12)]
