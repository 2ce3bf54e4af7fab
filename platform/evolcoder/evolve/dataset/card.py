"""The data set card, in the hub's format: what the rows are, where they came from and under whose terms. Pure.

Its words are in ``card.md.j2``; what is computed for them is here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from evolcoder.evolve.rules.operators import operators_of, prompts_fingerprint
from evolcoder.settings.run import RunSettings
from evolcoder.settings.section import EMBEDDED
from evolcoder.storage.stage import Manifest

_HUB_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def dataset_card(
    settings: RunSettings, rounds: Sequence[Manifest], summary: Mapping[str, Any], contamination: Mapping[str, Any] | None
) -> str:
    """The text of README.md.

    Args:
        rounds: the manifests of rounds 0 to k.
        summary: the counts of ``build.build_dataset``.
        contamination: what ``contamination.json`` holds; None when the rows were compared with no benchmark.
    """
    # No autoescape: this is Markdown, and a run's name, operators and reasons are the user's own words.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("evolcoder.evolve.dataset", "."),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["thousands"] = "{:,}".format
    environment.filters["number"] = lambda value: "of the endpoint's own" if value is None else f"{value:g}"
    operators = operators_of(settings.evolve.operators)
    reasons: Counter[str] = Counter()
    for manifest in rounds:
        for made in manifest.summary.get("operators", {}).values():
            reasons.update(made["eliminated"])
    seeds = settings.seeds.path
    if seeds == "packaged":
        seeds = "the seed tasks packaged with evolcoder"
    elif seeds.startswith(("/", ".", "~")):
        seeds = Path(seeds).name  # the folders of this machine are no one's business: the card is to be published
    model = settings.teacher.model
    front_matter = {
        "license": "other",
        "license_name": "terms-of-the-seeds-and-the-teacher",
        "language": ["en"],
        "task_categories": ["text-generation"],
        "tags": ["code", "instruction-tuning", "evol-instruct", "synthetic", "evolcoder"],
        "pretty_name": settings.name,
        "size_categories": [next((size for limit, size in _HUB_SIZES if summary["rows"] < limit), "n>1M")],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}],
    }
    return environment.get_template("card.md.j2").render(
        # Dumped by yaml and not written in the template: a run's name may need quoting.
        front_matter=yaml.safe_dump(front_matter, sort_keys=False).rstrip(),
        name=settings.name,
        settings=settings,
        seeds=seeds,
        teacher="SmolLM2-135M-Instruct, served by evolcoder" if model == EMBEDDED else model,
        operators=operators,
        prompts=prompts_fingerprint(operators),
        rounds=rounds,
        summary=summary,
        reasons=sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0])),
        contamination=contamination,
    )
