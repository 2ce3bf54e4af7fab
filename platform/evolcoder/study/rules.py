"""By which rules two evaluations were made, and where they differ: a difference of scores may be one of rules.

It reads finished evaluations and says; whether a difference of rules matters is for whoever reads the sentence.
"""

from __future__ import annotations

import json
from typing import Any

from evolcoder.evaluate.extraction import READING_VERSION
from evolcoder.evaluate.measurement import as_recorded
from evolcoder.evaluate.running_version import RUNNING_VERSION
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import read_manifest

_VERSIONS = {"reading_version": READING_VERSION, "running_version": RUNNING_VERSION}


def different_rules(first: Folder, second: Folder) -> list[str]:
    """What differs in how the two evaluations were made, each as ``name: one against other``; empty where nothing does.

    It looks at the prompt style, the extraction and its version (``reading_version``), how programs were run
    (``running_version``, the sandbox and its limits), the decoding, the samples, and all else that ``score.json`` holds
    under ``settings``. An evaluation from before there were versions counts as made under today's where its answers and
    programs would fare alike. Both must be finished (``storage.stage.verified_manifest``).
    """
    one, other = _rules(first), _rules(second)
    ignored = {"limit", "leave_out", "subset"}  # which problems: a comparison is over those that both have
    if one["style"] != other["style"]:
        ignored |= {"prompt", "stops"}  # another style has its own, which need not be told beside it
    if not one.get("temperature") and not other.get("temperature"):
        ignored |= {"seed", "top_p"}  # they decide nothing where answers are greedy
    for folder, older, newer in ((first, one, other), (second, other, one)):
        unrecorded = {name for name, today in _VERSIONS.items() if older[name] is None and newer[name] == today}
        manifest = read_manifest(folder) if unrecorded else None
        if manifest and as_recorded(folder, {**_VERSIONS, **manifest.identity}) == manifest.identity:
            ignored |= unrecorded  # it holds nothing that would fare otherwise today
    names = [name for name in one if name in other and name not in ignored]
    return [f"{name}: {_shown(one[name])} against {_shown(other[name])}" for name in names if one[name] != other[name]]


def _rules(folder: Folder) -> dict[str, Any]:
    """The settings of a score, flat. What one has and the other has not, as of programs of a file, is not compared."""
    score = json.loads(folder.read_text("score.json"))
    rules = {"style": score["style"], **dict.fromkeys(_VERSIONS), "thinking_marks": [], **score["settings"]}
    limits = rules.pop("sandbox_limits", {})
    return rules | {f"sandbox_limits.{name}": value for name, value in limits.items()}


def _shown(value: Any) -> str:
    return "not recorded" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
