from __future__ import annotations

import pytest

from evolcoder.run.variants import Variant, up_to
from evolcoder.study.evidence.comparisons import seeds_together

SEEDS = {f"tuned-seed-{seed}": Variant((0, 1), seed, name=f"tuned-seed-{seed}") for seed in range(3)}


@pytest.mark.parametrize(("problems", "rows"), [(4, 1), (1, 0)])
def test_a_spread_over_seeds_takes_several_problems(problems: int, rows: int) -> None:
    """A trial of a study, with ``evaluate.limit: 1``, has a report too."""
    rates = {(name, "humaneval"): {str(task): float(task % 2) for task in range(problems)} for name in SEEDS}
    found = seeds_together(rates, SEEDS)
    assert len(found) == rows
    assert all(
        (row["label"], row["seeds"], row["mean"], row["against_seeds"]) == (up_to(1).label, 3, 0.5, None) for row in found
    )
