"""The data set card, in the hub's format: what the rows are, where they came from and under whose terms. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from evolcoder.evolve.operators import operators_of, prompts_fingerprint
from evolcoder.runs import Manifest
from evolcoder.settings import EMBEDDED, RunSettings

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def dataset_card(settings: RunSettings, rounds: Sequence[Manifest], summary: Mapping[str, Any]) -> str:
    """The text of README.md.

    Args:
        rounds: the manifests of rounds 0 to k.
        summary: the counts of ``dataset.build_dataset``.
    """
    return "\n".join(
        [
            "---",
            yaml.safe_dump(_front_matter(settings, int(summary["rows"])), sort_keys=False).rstrip(),
            "---",
            f"# {settings.name}: evolved coding instructions",
            "",
            f"{summary['rows']:,} instructions with responses, made from seed tasks by {len(rounds) - 1} rounds of code "
            "Evol-Instruct with evolcoder.",
            "",
            "## How the rows were made",
            "",
            *_facts(settings, rounds),
            "",
            "## Rows",
            "",
            *_rounds_table(rounds, summary),
            "",
            f"Left out: {summary['duplicates']:,} exact duplicates (case, white space and closing punctuation aside) and "
            f"{summary['without_response']:,} rows without a response.",
            "",
            *_operators_table(summary),
            "",
            "## Columns",
            "",
            "`instruction`, `input` and `response` are the example (`train.jsonl` calls them instruction, input, output). "
            "`round`, `parent_id`, `root_id` and `operator` are its lineage; `teacher`, `sampling`, the token counts and "
            "`request_keys` say how it was paid for.",
            "",
            "## Not checked",
            "",
            "Responses were not run. The rows were not compared with benchmarks: test for contamination before you publish "
            "scores.",
            "",
            "## Licence",
            "",
            "The rows inherit the terms of the seed tasks and of the teacher that wrote them; many providers restrict training "
            "other models on their output. Set `license` above once you have read both.",
            "",
        ]
    )


def _front_matter(settings: RunSettings, rows: int) -> dict[str, Any]:
    size = next((name for limit, name in _SIZES if rows < limit), "n>1M")
    return {
        "license": "other",
        "license_name": "terms-of-the-seeds-and-the-teacher",
        "language": ["en"],
        "task_categories": ["text-generation"],
        "tags": ["code", "instruction-tuning", "evol-instruct", "synthetic", "evolcoder"],
        "pretty_name": settings.name,
        "size_categories": [size],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "train.parquet"}]}],
    }


def _facts(settings: RunSettings, rounds: Sequence[Manifest]) -> list[str]:
    teacher = settings.teacher
    operators = operators_of(settings.evolve.operators)
    model = "SmolLM2-135M-Instruct, served by evolcoder" if teacher.model == EMBEDDED else teacher.model
    path = settings.seeds.path
    local = path.startswith(("/", ".", "~"))
    seeds = "the seed tasks packaged with evolcoder" if path == "packaged" else Path(path).name if local else path
    sampling = f"temperature {teacher.temperature:g}, top_p {teacher.top_p:g}, at most {teacher.max_tokens} tokens"
    return [
        f"- Seeds: {rounds[0].rows:,} of {seeds} (seed {settings.seeds.seed})",
        f"- Teacher: {model}, {sampling}",
        f"- Operators: {', '.join(operator.name for operator in operators)} (draw seed {settings.evolve.seed})",
        f"- Prompts: fingerprint `{prompts_fingerprint(operators)}`",
        f"- Made by: evolcoder {rounds[-1].versions.get('evolcoder', 'unknown')}; content of the last round "
        f"`{rounds[-1].content_hash}`",
    ]


def _rounds_table(rounds: Sequence[Manifest], summary: Mapping[str, Any]) -> list[str]:
    lines = ["| round | kept | eliminated | in this set | prompt tokens | completion tokens |", "|--:|--:|--:|--:|--:|--:|"]
    for number, manifest in enumerate(rounds):
        made = manifest.summary
        cells = [number, made.get("kept", manifest.rows), made.get("eliminated", 0), summary["rows_by_round"][str(number)]]
        cells += [made.get("prompt_tokens", 0), made.get("completion_tokens", 0)]
        lines.append("| " + " | ".join(f"{cell:,}" for cell in cells) + " |")
    return lines


def _operators_table(summary: Mapping[str, Any]) -> list[str]:
    rows = [f"| {name} | {count:,} |" for name, count in summary["rows_by_operator"].items()]
    return ["| operator | rows |", "|---|--:|", *rows]
