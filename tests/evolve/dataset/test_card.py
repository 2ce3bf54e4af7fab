"""The data set card, to the byte: its text is a file of finished runs, whose hashes hold it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from evolcoder.evolve.dataset.card import dataset_card
from evolcoder.settings.files import parse_settings
from evolcoder.storage.stage import FileEntry, Manifest

CARDS = Path(__file__).parent / "cards"
OWN_OPERATOR = {"name": "port", "template": "Port <this> & that:\n{task}\nRewritten task:", "weight": 2}
FULL: dict[str, Any] = {
    "settings": {
        "name": "full_1",
        "seeds": {"path": "/data/seeds/code_alpaca.json", "seed": 4},
        "teacher": {"model": "gpt-4o-mini", "base_url": "http://teacher/v1", "temperature": 0.7, "max_tokens": 1024},
        "evolve": {"rounds": 2, "seed": 3, "operators": ["constraints", "complexity", OWN_OPERATOR]},
    },
    "rounds": [
        {"kept": 1200, "eliminated": 3},
        {
            "kept": 1100,
            "eliminated": 100,
            "prompt_tokens": 1234567,
            "completion_tokens": 89012,
            "usd": 1234.567,
            "operators": {
                "constraints": {"eliminated": {"unchanged": 40, "contaminated": 10}},
                "port": {"eliminated": {"apology": 50}},
            },
        },
        {"operators": {"port": {"eliminated": {"unchanged": 10, "duplicate": 1500}}}},
    ],
    "summary": {
        "rows": 2500,
        "rows_by_round": {"0": 1200, "1": 1100, "2": 200},
        "rows_by_operator": {"constraints": 800, "port": 500, "seed": 1200},
        "duplicates": 1001,
        "without_response": 7,
    },
    "contamination": {
        "rules": 1,
        "benchmarks": {"humaneval": "openai/human-eval", "mbpp+": "v0.1.0 <of> evalplus"},
        "rows_compared": 3500,
        "rows": 12,
        "by_benchmark": {"humaneval": 1012},
    },
}
PLAIN: dict[str, Any] = {
    "settings": {"name": "plain", "evolve": {"rounds": 1}},
    "rounds": [{}, {}],
    "summary": {
        "rows": 10,
        "rows_by_round": {"0": 5, "1": 5},
        "rows_by_operator": {},
        "duplicates": 0,
        "without_response": 0,
    },
    "contamination": None,
}


def manifest(number: int, summary: dict[str, Any]) -> Manifest:
    entry = FileEntry(path="part-00000.arrow", bytes=5, sha256="ab" * 32, rows=5)
    versions = {"evolcoder": "0.1.0"} if summary else {}
    return Manifest(
        stage=f"round {number:02d}", identity={}, inputs={}, files=[entry], summary=summary, versions=versions, created_at=""
    )


def card(given: dict[str, Any]) -> str:
    rounds = [manifest(number, summary) for number, summary in enumerate(given["rounds"])]
    return dataset_card(parse_settings(given["settings"], "the test"), rounds, given["summary"], given["contamination"])


@pytest.mark.parametrize(("name", "given"), [("full", FULL), ("plain", PLAIN)])
def test_the_same_input_makes_the_same_card_for_ever(name: str, given: dict[str, Any]) -> None:
    assert card(given).encode() == (CARDS / f"{name}.md").read_bytes()


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("packaged", "the seed tasks packaged with evolcoder"),
        ("/home/me/seeds.json", "seeds.json"),
        ("~/seeds.json", "seeds.json"),
        ("./mine/seeds.json", "seeds.json"),
        ("org/name@main", "org/name@main"),
    ],
)
def test_a_card_to_be_published_names_no_folder_of_this_machine(path: str, shown: str) -> None:
    given = PLAIN | {"settings": PLAIN["settings"] | {"seeds": {"path": path}}}
    assert f"- Seeds: 5 of {shown} (seed 0)\n" in card(given)


@pytest.mark.parametrize(
    ("rows", "size"), [(0, "n<1K"), (999, "n<1K"), (1_000, "1K<n<10K"), (999_999, "100K<n<1M"), (1_000_000, "n>1M")]
)
def test_the_size_category_is_the_hubs(rows: int, size: str) -> None:
    front = card(PLAIN | {"summary": PLAIN["summary"] | {"rows": rows}}).split("---\n")[1]
    assert yaml.safe_load(front)["size_categories"] == [size]


def test_words_that_look_like_a_template_or_like_html_stay_as_they_are() -> None:
    summary = PLAIN["summary"] | {"rows_by_operator": {"{{ name }} <b>&": 1}}
    assert "| {{ name }} <b>& | 1 |\n" in card(PLAIN | {"summary": summary})


def test_what_the_teacher_was_not_told_and_what_it_was_told_besides_is_there() -> None:
    teacher = {"model": "m", "base_url": "http://t/v1", "temperature": None, "extra_body": {"reasoning_effort": "low"}}
    text = card(PLAIN | {"settings": PLAIN["settings"] | {"teacher": teacher}})
    own = "temperature of the endpoint's own, top_p 0.95"
    assert f'- Teacher: m, {own}, at most 2048 tokens, with {{"reasoning_effort": "low"}}\n- Operators' in text
