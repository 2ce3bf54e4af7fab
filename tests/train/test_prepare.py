from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from evolcoder.errors import DataError, RunFolderError
from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import Variant, up_to
from evolcoder.settings.run import TrainSettings
from evolcoder.storage.arrow_files import read_table
from evolcoder.train.encode import row_of
from evolcoder.train.job import ENCODED_FILE, HELD_OUT_FILE
from evolcoder.train.prepare import dataset_manifest, prepare


def encoded_texts(run: RunFolder, rounds: int | Variant, tokenizer: Any) -> list[str]:
    work = run.root / "work"
    prepare(
        run.dataset,
        dataset_manifest(run.dataset),
        up_to(rounds) if isinstance(rounds, int) else rounds,
        tokenizer,
        TrainSettings(sequence_length=500),
        work,
    )
    table = read_table(work, ENCODED_FILE)
    rows = [row_of(table, n) for n in range(table.num_rows)]
    return [tokenizer.decode(row.tokens[row.prompt_tokens :]) for row in rows]


def test_rows_up_to_the_round_are_encoded_in_order(
    make_run: Callable[..., Any], row: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    _, run = make_run(rows=[row(0, 0, "a", "A"), row(1, 0, "b", "B"), row(2, 1, "c", "C"), row(3, 2, "d", "D")])
    assert encoded_texts(run, 1, tiny_tokenizer) == ["A<|im_end|>", "B<|im_end|>", "C<|im_end|>"]
    assert encoded_texts(run, 0, tiny_tokenizer) == ["A<|im_end|>", "B<|im_end|>"]


def test_a_round_alone_and_rows_without_an_operator(
    make_run: Callable[..., Any], row: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    rows = [row(n, n // 2, "a", "ABCDEF"[n]) for n in range(6)]
    rows[3]["operator"] = "constraints"
    _, run = make_run(rows=rows)
    assert encoded_texts(run, Variant((1,)), tiny_tokenizer) == ["C<|im_end|>", "D<|im_end|>"]
    assert encoded_texts(run, replace(up_to(2), leave_out="constraints"), tiny_tokenizer) == [
        f"{letter}<|im_end|>" for letter in "ABCEF"
    ]


@pytest.mark.parametrize("matched", ["rows", "tokens"])
def test_rounds_are_matched_to_the_smallest(
    make_run: Callable[..., Any], row: Callable[..., Any], tiny_tokenizer: Any, matched: Any
) -> None:
    """Of round 0 there are 8 short rows, of round 1 there are 3 of about three times their tokens."""
    sizes = {0: (8, 4), 1: (3, 100)}
    rows = [row(100 * r + n, r, "a", "x" * length) for r, (count, length) in sizes.items() for n in range(count)]
    _, run = make_run(rows=rows)
    found = {
        r: prepare(
            run.dataset,
            dataset_manifest(run.dataset),
            Variant((r,), r, "", matched, (0, 1)),
            tiny_tokenizer,
            TrainSettings(sequence_length=500),
            run.root / f"w{r}",
        )
        for r in sizes
    }
    if matched == "rows":
        assert (found[0].rows, found[1].rows) == (3, 3)
    else:
        smallest = prepare(
            run.dataset,
            dataset_manifest(run.dataset),
            Variant((1,)),
            tiny_tokenizer,
            TrainSettings(sequence_length=500),
            run.root / "w",
        ).tokens
        assert found[1].tokens == smallest
        longest = found[0].tokens / found[0].rows
        assert smallest - longest < found[0].tokens <= smallest


def test_what_was_cut_and_left_out_is_counted(
    make_run: Callable[..., Any], row: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    _, run = make_run(rows=[row(0, 0, "a", "A"), row(1, 0, "b", "B" * 500), row(2, 0, "c" * 500, "C")])
    prepared = prepare(
        run.dataset,
        dataset_manifest(run.dataset),
        up_to(0),
        tiny_tokenizer,
        TrainSettings(sequence_length=200),
        run.root / "work",
    )
    assert (prepared.rows, prepared.overlong, prepared.examples, prepared.dropped) == (2, 1, ["id0001"], 1)


def test_rows_that_are_too_long_are_dropped_or_refused_as_asked(
    make_run: Callable[..., Any], row: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    _, run = make_run(rows=[row(n, 0, "a", "B" * (500 if n > 1 else 5)) for n in range(7)])
    manifest, work = dataset_manifest(run.dataset), run.root / "work"
    drop = TrainSettings(sequence_length=200, overlong="drop")
    prepared = prepare(run.dataset, manifest, up_to(0), tiny_tokenizer, drop, work)
    assert (prepared.rows, prepared.overlong, prepared.examples) == (2, 5, ["id0002", "id0003", "id0004"])
    refused = TrainSettings(sequence_length=200, overlong="error")
    with pytest.raises(DataError, match=r"5 rows of .* such as id0002, id0003, id0004; raise it, or set train.overlong to"):
        prepare(run.dataset, manifest, up_to(0), tiny_tokenizer, refused, work)


def test_whole_families_are_held_out_the_same_in_every_round_and_variant(
    make_run: Callable[..., Any], row: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    rows = [row(n, n // 50, f"task {n}", f"R{n}") | {"root_id": f"seed {n % 50}"} for n in range(150)]
    _, run = make_run(rows=rows)
    settings = TrainSettings(sequence_length=500, held_out=0.2)
    roots: dict[str, set[str]] = {}
    for variant in (up_to(2), up_to(0), Variant((1,), seed=7)):
        prepared = prepare(run.dataset, dataset_manifest(run.dataset), variant, tiny_tokenizer, settings, run.root / "work")
        for name in (ENCODED_FILE, HELD_OUT_FILE):
            table = read_table(run.root / "work", name)
            texts = [tiny_tokenizer.decode(row_of(table, n).tokens) for n in range(table.num_rows)]
            found = {f"seed {int(text.rpartition('R')[2].removesuffix('<|im_end|>')) % 50}" for text in texts}
            assert roots.setdefault(name, found) == found
        assert prepared.rows + prepared.held_out == 50 * len(variant.rounds)
    assert not roots[ENCODED_FILE] & roots[HELD_OUT_FILE]
    assert 4 <= len(roots[HELD_OUT_FILE]) <= 16


def test_a_share_that_holds_nothing_out_is_refused(
    make_run: Callable[..., Any], row: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    _, run = make_run(rows=[row(0, 0, "a", "A")])
    settings = TrainSettings(sequence_length=500, held_out=0.001)
    with pytest.raises(DataError, match=r"train.held_out=0.001 holds out none of the few seed families of round 0; raise it"):
        prepare(run.dataset, dataset_manifest(run.dataset), up_to(0), tiny_tokenizer, settings, run.root / "work")


def test_a_run_without_a_training_set_says_what_to_run(make_run: Callable[..., Any]) -> None:
    _, run = make_run()
    run.dataset.delete("manifest.json")
    with pytest.raises(RunFolderError, match="evolcoder evolve"):
        dataset_manifest(run.dataset)


def test_a_damaged_training_set_is_refused(make_run: Callable[..., Any]) -> None:
    _, run = make_run()
    run.dataset.write_bytes("train-00001.arrow", b"x")
    with pytest.raises(RunFolderError, match="damaged: train-00001"):
        dataset_manifest(run.dataset)


def test_a_training_set_that_leaves_no_row_is_refused(
    make_run: Callable[..., Any], row: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    _, run = make_run(rows=[row(0, 0, "c" * 500, "C")])
    with pytest.raises(DataError, match=r"all 1 are too long for train\.sequence_length=200"):
        prepare(
            run.dataset,
            dataset_manifest(run.dataset),
            up_to(0),
            tiny_tokenizer,
            TrainSettings(sequence_length=200),
            run.root / "work",
        )
    _, empty = make_run("empty", rows=[])
    with pytest.raises(DataError, match="it is empty"):
        prepare(empty.dataset, dataset_manifest(empty.dataset), up_to(0), tiny_tokenizer, TrainSettings(), empty.root / "work")


def test_rows_are_read_alike_from_other_storage(make_run: Callable[..., Any], tiny_tokenizer: Any) -> None:
    import pyarrow.fs as pafs

    from evolcoder.storage.folders import Folder

    _, run = make_run()
    local = run.root / "work"
    prepare(run.dataset, dataset_manifest(run.dataset), up_to(1), tiny_tokenizer, TrainSettings(sequence_length=500), local)
    other = Folder(pafs.SubTreeFileSystem(str(local.local_path.parent), pafs.LocalFileSystem()), "work")
    assert not other.is_local
    assert other.exists(ENCODED_FILE)
    there, here = read_table(other, ENCODED_FILE), read_table(local, ENCODED_FILE)
    assert [row_of(there, n) for n in range(12)] == [row_of(here, n) for n in range(12)]
