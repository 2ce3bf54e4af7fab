"""The data set card, in the hub's format: what the rows are, where they came from and under whose terms. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from evolcoder.evolve.rules.operators import operators_of, prompts_fingerprint
from evolcoder.settings import EMBEDDED, RunSettings
from evolcoder.storage.stage import Manifest

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def dataset_card(
    settings: RunSettings, rounds: Sequence[Manifest], summary: Mapping[str, Any], contamination: Mapping[str, Any] | None
) -> str:
    """The text of README.md.

    Args:
        rounds: the manifests of rounds 0 to k.
        summary: the counts of ``dataset.build_dataset``.
        contamination: what ``contamination.json`` holds; None when the rows were compared with no benchmark.
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
            *_reasons_table(rounds),
            "",
            "## Contamination",
            "",
            *_contamination(contamination),
            "",
            "## Columns",
            "",
            "`instruction`, `input` and `response` are the example (`train.jsonl` calls them instruction, input, output). "
            "`round`, `parent_id`, `root_id` and `operator` are its lineage; `teacher`, `sampling`, the token counts and "
            "`request_keys` say how it was paid for.",
            "",
            "## Not checked",
            "",
            "Responses were not run: nothing says that their code works.",
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
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}],
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
    lines = [
        "| round | kept | eliminated | in this set | prompt tokens | completion tokens | USD |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for number, manifest in enumerate(rounds):
        made = manifest.summary
        cells = [number, made.get("kept", manifest.rows), made.get("eliminated", 0), summary["rows_by_round"][str(number)]]
        cells += [made.get("prompt_tokens", 0), made.get("completion_tokens", 0)]
        usd = made.get("usd", 0.0)
        lines.append("| " + " | ".join(f"{cell:,}" for cell in cells) + f" | {usd:,.2f} |")
    return lines


def _operators_table(summary: Mapping[str, Any]) -> list[str]:
    rows = [f"| {name} | {count:,} |" for name, count in summary["rows_by_operator"].items()]
    return ["| operator | rows |", "|---|--:|", *rows]


def _reasons_table(rounds: Sequence[Manifest]) -> list[str]:
    """Why rows fell, over all rounds."""
    reasons: Counter[str] = Counter()
    for manifest in rounds:
        for made in manifest.summary.get("operators", {}).values():
            reasons.update(made["eliminated"])
    if not reasons:
        return ["No row was eliminated."]
    rows = [f"| {reason} | {count:,} |" for reason, count in sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))]
    return ["| eliminated for | rows |", "|---|--:|", *rows]


def _contamination(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return ["The rows were not compared with any benchmark: test for contamination before you publish scores."]
    lines = [
        f"{found['rows_compared']:,} rows, seeds and evolved, were compared with the prompts, solutions and tests of these "
        f"benchmarks (rules, version {found['rules']}). {found['rows']:,} held one of their problems and are not in this set; "
        "`contamination.json` names the problem and shows the matching text for each.",
        "",
        "| benchmark | data | problems found |",
        "|---|---|--:|",
    ]
    for name, version in found["benchmarks"].items():
        lines.append(f"| {name} | {version} | {found['by_benchmark'].get(name, 0):,} |")
    return [*lines, "", "Copies told in entirely new words, and solved in another way under another name, are not found."]
