"""What the reasons mean, against the page that documents the rules."""

from __future__ import annotations

import re
from pathlib import Path

from evolcoder.explore.reasons import meaning

RULES = Path(__file__).parents[2] / "docs" / "evolve.md"


def test_every_documented_rule_has_a_meaning() -> None:
    table = RULES.read_text("utf-8").partition("| rule | falls when |")[2].partition("\n\n")[0]
    rules = re.findall(r"`([a-z_]+)", " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `")))
    assert {"duplicate", "contaminated", "apology", "ended_by_"} < set(rules)
    assert all(meaning(rule).endswith(".") for rule in rules)


def test_an_ending_and_a_rule_of_another_time_are_told_as_they_are() -> None:
    assert meaning("ended_by_tool_calls") == "The reply did not come to its own end: tool calls."
    assert meaning("a_rule_of_tomorrow") == ""
