"""Drawing tokens."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
import torch

from evolcoder.serve.engines import sampling
from evolcoder.serve.engines.base import SamplingParams
from evolcoder.serve.engines.sampling import RowSampler, sample_tokens, top_logprobs


def sampler(seed: int = 0, **settings: float) -> RowSampler:
    return RowSampler(SamplingParams(**settings), random.Random(seed))  # type: ignore[arg-type]


def frequencies(logits: list[float], **settings: float) -> dict[int, float]:
    one = sampler(**settings)
    counts = Counter(sample_tokens(torch.tensor([logits]), [one])[0] for _ in range(3000))
    return {token: count / 3000 for token, count in counts.items()}


def test_rows_draw_by_their_own_settings() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [5.0, 0.0, 5.1]])
    assert sample_tokens(logits, [sampler(temperature=0), sampler(temperature=1.0, top_p=0.01)]) == [1, 2]


@pytest.mark.parametrize(
    "settings", [{"top_p": 0.0}, {"top_p": 5e-324}, {"top_p": 1e-9}, {"temperature": 1e-46}, {"temperature": 1e-20}]
)
def test_no_setting_is_too_small_to_be_greedy(settings: dict[str, float]) -> None:
    logits = torch.randn((1, 1000), generator=torch.Generator().manual_seed(1)) * 50
    assert sample_tokens(logits, [sampler(**settings)]) == sample_tokens(logits, [sampler(temperature=0)])


def test_tokens_come_as_often_as_the_softmax_says() -> None:
    found = frequencies([math.log(0.6), math.log(0.3), math.log(0.1)])
    assert found == pytest.approx({0: 0.6, 1: 0.3, 2: 0.1}, abs=0.04)


def test_temperature_sharpens() -> None:
    found = frequencies([math.log(0.6), math.log(0.4)], temperature=0.5)
    assert found == pytest.approx({0: 0.36 / 0.52, 1: 0.16 / 0.52}, abs=0.04)


def test_the_nucleus_is_the_fewest_tokens_that_reach_top_p() -> None:
    found = frequencies([math.log(0.5), math.log(0.3), math.log(0.2)], top_p=0.6)
    assert found == pytest.approx({0: 0.625, 1: 0.375}, abs=0.04)


def test_a_wide_nucleus_is_sorted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn((4, 50), generator=torch.Generator().manual_seed(0))
    rows = [sampler(seed, top_p=0.95) for seed in range(4)]
    whole = [sample_tokens(logits, rows) for _ in range(20)]
    monkeypatch.setattr(sampling, "CANDIDATES", 3)
    rows = [sampler(seed, top_p=0.95) for seed in range(4)]
    assert [sample_tokens(logits, rows) for _ in range(20)] == whole


def test_a_seed_repeats_and_does_not_depend_on_the_company() -> None:
    logits = torch.zeros((1, 100))
    alone = sampler(7)
    tokens = [sample_tokens(logits, [alone])[0] for _ in range(10)]
    again, other = sampler(7), sampler(8)
    assert [sample_tokens(logits.expand(2, -1), [other, again])[1] for _ in range(10)] == tokens


def test_penalties_count_what_was_drawn() -> None:
    one = sampler(temperature=0, frequency_penalty=1.0, presence_penalty=0.5)
    logits = torch.tensor([[2.0, 1.0, 0.0]])
    assert [sample_tokens(logits, [one])[0] for _ in range(4)] == [0, 1, 0, 2]
    assert logits.tolist() == [[2.0, 1.0, 0.0]]


def test_logprobs_are_the_models_own() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(0.75), math.log(0.25)]])
    (pairs,) = top_logprobs(logits, [1], [1], 1)
    assert [token for token, _ in pairs] == [1, 0]
    assert [value for _, value in pairs] == pytest.approx([math.log(0.25), math.log(0.75)])
