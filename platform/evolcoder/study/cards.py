"""The cards of a study's data set and of its model, in the hub's format, with figures from the report's evidence. Pure.

The cards that evolving and training write beside their files stay as they are: these are to take their place when the data
or the model is published.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from evolcoder.benchmark_table import BENCHMARKS
from evolcoder.run.variants import BASE, TUNED
from evolcoder.settings.section import EMBEDDED
from evolcoder.study.evidence.findings import score_of
from evolcoder.study.filling import filled

EMBEDDED_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"


def dataset_card(evidence: Mapping[str, Any], own_card: str) -> str:
    """The data set's own card, with what the study found below.

    Args:
        own_card: the README.md that the data set has, front matter included.
    """
    teacher = evidence["settings"]["teacher"]["model"]
    if _is_path(teacher):
        own_card = own_card.replace(teacher, _published_name(teacher))
    return own_card.rstrip("\n") + "\n\n" + filled("card_dataset.md.j2", **_values(evidence))


def model_card(evidence: Mapping[str, Any]) -> str:
    """The card of the run's own model."""
    values = _values(evidence)
    results = list(_results(evidence))
    front = {
        "license": "other",
        "license_name": "terms-of-the-seeds-and-the-teacher",
        "language": ["en"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["code", "evol-instruct", "evolcoder"],
        **({"base_model": values["base_model"]} if values["base_model"].count("/") == 1 else {}),
        **({"model-index": [{"name": evidence["name"], "results": results}]} if results else {}),
    }
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n{filled('card_model.md.j2', **values)}"


def _values(evidence: Mapping[str, Any]) -> dict[str, Any]:
    teacher, seeds = evidence["settings"]["teacher"]["model"], evidence["settings"]["seeds"]["path"]
    return {
        **evidence,
        "own": next((one for one in evidence["trainings"] if one["model"] == TUNED), None),
        "own_scores": [score for score in evidence["scores"] if score["role"] in (BASE, TUNED)],
        "teacher": f"{EMBEDDED_HUB_ID}, served by evolcoder" if teacher == EMBEDDED else _published_name(teacher),
        "base_model": _published_name(evidence["settings"]["train"]["base_model"]),
        "writer": _published_name(teacher),
        "seeds": "the seed tasks packaged with evolcoder" if seeds == "packaged" else _published_name(seeds),
    }


def _published_name(name: str) -> str:
    """A model or file as it may be named to others: where it lies on this machine is no one's business."""
    if name == EMBEDDED:
        return EMBEDDED_HUB_ID
    return Path(name).name if _is_path(name) else name


def _is_path(name: str) -> bool:
    return name.startswith(("/", ".", "~"))


def _results(evidence: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Scores of whole test benchmarks alone: a part of one is not that benchmark's result, and a development set none."""
    for benchmark, entry in BENCHMARKS.items():
        score = score_of(evidence, TUNED, benchmark)
        if score is None or score["development"] or score["tasks"] < score["benchmark_tasks"]:
            continue
        file = entry.files[0]
        yield {
            "task": {"type": "text-generation"},
            "dataset": {"type": file.hub_id, "name": benchmark, "revision": file.hub_revision},
            "metrics": [{"type": "pass@1", "name": "pass@1", "value": round(100 * score["value"], 1), "verified": False}],
        }
