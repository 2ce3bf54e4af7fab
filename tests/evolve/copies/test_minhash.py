"""MinHash signatures: what they estimate, and that bands bring near-duplicates together."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.evolve.copies.minhash import NearIndex, band_keys, rows_per_band, shingles, signature

PERMUTATIONS = 128


def pair_of(share: float, size: int, draw: int) -> tuple[set[str], set[str]]:
    """Two sets of about this Jaccard similarity."""
    common = round(size * share)
    own = (size - common) // 2
    names = [f"{draw} {number}" for number in range(common + 2 * own)]
    return set(names[: common + own]), set(names[:common] + names[common + own :])


def test_shingles_are_runs_of_words() -> None:
    assert shingles(["a", "b", "c", "d"]) == {"a b c", "b c d"}
    assert shingles(["a", "b"]) == {"a b"}
    assert shingles([]) == set()


def test_a_signature_is_the_same_everywhere_and_for_ever() -> None:
    assert signature({"a b c", "b c d"}, 4).tolist() == signature(["b c d", "a b c"], 4).tolist()
    assert signature({"a b c"}, 4).tolist() == KNOWN, "rounds that were deduplicated before would be made anew"


KNOWN = [237042244, 3259559106, 4283973294, 1630376076]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.7, 0.9])
def test_the_estimate_is_close(share: float) -> None:
    errors = []
    for draw in range(40):
        one, other = pair_of(share, 200, draw)
        true = len(one & other) / len(one | other)
        agreeing = signature(one, PERMUTATIONS) == signature(other, PERMUTATIONS)
        errors.append(float(agreeing.mean()) - true)
    assert abs(sum(errors) / len(errors)) < 0.03
    assert max(map(abs, errors)) < 0.2


@given(st.floats(0.3, 0.95), st.sampled_from([16, 64, 128, 256]))
def test_bands_miss_hardly_any_pair_at_the_threshold(threshold: float, permutations: int) -> None:
    rows = rows_per_band(threshold, permutations)
    (keys,) = band_keys(signature({"x"}, permutations)[np.newaxis], threshold)
    assert len(keys) == permutations // rows
    assert rows == 1 or (1 - threshold**rows) ** len(keys) <= 0.02


def test_candidates_are_the_similar_ones() -> None:
    draw = random.Random(0)
    found = {True: 0, False: 0}
    for number in range(300):
        near = number % 2 == 0
        one, other = pair_of(draw.uniform(0.75, 0.95) if near else draw.uniform(0.0, 0.25), 100, number)
        keys = band_keys(np.array([signature(one_set, PERMUTATIONS) for one_set in (one, other)]), 0.7)
        found[near] += bool((keys[0] == keys[1]).any())
    assert found[True] >= 148
    assert found[False] <= 5


def test_an_index_counts_what_candidates_share_and_keeps_the_order_in_which_they_came() -> None:
    index = NearIndex(0.75)
    letters = [f"shingle {number}" for number in range(20)]
    index.add(7, letters[:19])  # shares 19 of 20
    index.add(3, letters)
    index.add(5, letters[:14])  # 14 of 20 are too few
    index.add(9, ["another"])
    assert list(index.find(set(letters))) == [(7, 0.95), (3, 1.0)]
    assert list(index.find({"unheard of"})) == []
