"""What was found, in sentences that are made from the numbers alone. Pure.

A difference is called one when its p-value, corrected for the comparisons that were made beside it, is below 0.05. Else the
sentence says that none can be told, which is not that there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evolcoder.run.variants import BASE, TUNED

LEVEL = 0.05
PUBLISHED_BENCHMARKS = {
    "humaneval": ("humaneval", "HumanEval"),
    "mbpp": ("mbpp", "MBPP"),
    "ds1000_insertion": ("ds1000-insertion", "DS-1000, insertion"),
}
"""Of each column of ``study.published`` our benchmark, and what people call it."""


def findings(evidence: Mapping[str, Any]) -> dict[str, str]:
    """One sentence or two for the first screen (``main``) and for each of the paper's questions (``rq1`` to ``rq3``)."""
    return {"main": _main(evidence), "rq1": _rq1(evidence), "rq2": _rq2(evidence), "rq3": _rq3(evidence)}


def main_comparison(evidence: Mapping[str, Any]) -> dict[str, Any] | None:
    """Base against tuned on the first test benchmark of the settings that both were scored on."""
    tests: list[dict[str, Any]] = [c for c in evidence["comparisons"] if not c["development"]]
    return tests[0] if tests else None


def score_of(evidence: Mapping[str, Any], role: str, benchmark: str) -> dict[str, Any] | None:
    """pass@1 of a model on a benchmark; None when it was not scored, or with another k."""
    found: dict[str, Any] | None = next(
        (s for s in evidence["scores"] if s["role"] == role and s["benchmark"] == benchmark and s["k"] == 1), None
    )
    return found


def told(comparison: Mapping[str, Any]) -> bool:
    """Whether a difference can be told from chance."""
    return bool(comparison["difference"] and comparison["p_corrected"] < LEVEL)


def points(share: float) -> str:
    return f"{100 * share:+.1f}"


def p_text(p_value: float) -> str:
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.2g}"


def _interval(comparison: Mapping[str, Any]) -> str:
    low, high = (points(bound) for bound in comparison["interval"])
    return f"95 % interval {low} to {high}, {p_text(comparison['p_corrected'])}"


def _main(evidence: Mapping[str, Any]) -> str:
    c = main_comparison(evidence)
    if c is None:
        scored = ", ".join(dict.fromkeys(score["role"] for score in evidence["scores"]))
        if not scored:
            return "No model is scored yet, so nothing is known of what evolving did to pass@1."
        return f"There is no result yet: base and tuned must both be scored on a test benchmark (scored: {scored})."
    base, tuned = score_of(evidence, BASE, c["benchmark"]), score_of(evidence, TUNED, c["benchmark"])
    values = f"from {100 * base['value']:.1f} % to {100 * tuned['value']:.1f} %, " if base and tuned else ""
    seen = f"{values}{points(c['difference'])} points ({_interval(c)})"
    if told(c):
        return f"Tuning {'raised' if c['difference'] > 0 else 'lowered'} pass@1 on {c['benchmark']} {seen}."
    return f"No difference can be told between base and tuned on {c['benchmark']}: {seen}."


def _rq1(evidence: Mapping[str, Any]) -> str:
    tests = [c for c in evidence["comparisons"] if not c["development"]]
    if not tests:
        return "Not answered yet: base and tuned must both be scored on a test benchmark."
    clear: dict[str, list[str]] = {"gained on": [], "lost on": []}
    for c in filter(told, tests):
        clear["gained on" if c["difference"] > 0 else "lost on"].append(f"{c['benchmark']} ({points(c['difference'])} points)")
    parts = [f"{verb} {_listed(named)}" for verb, named in clear.items() if named]
    open_ones = [c["benchmark"] for c in tests if not told(c)]
    if not parts:
        return f"On {_listed(open_ones)} no difference between base and tuned can be told."
    rest = f"; on {_listed(open_ones)} no difference can be told" if open_ones else ""
    return f"The tuned model {' and '.join(parts)}{rest}."


def _rq2(evidence: Mapping[str, Any]) -> str:
    sentences = [
        _standing(evidence, column, tuned)
        for column, (benchmark, _) in PUBLISHED_BENCHMARKS.items()
        if (tuned := score_of(evidence, TUNED, benchmark)) is not None
    ]
    if not sentences:
        return "Not answered yet: the tuned model is scored on none of the benchmarks that published rows are for."
    return " ".join([*sentences, "Published numbers come from other harnesses: context, not a comparison."])


def _standing(evidence: Mapping[str, Any], column: str, tuned: Mapping[str, Any]) -> str:
    """How many published models of each kind ours is above, and how far it is from the best closed one."""
    ours, (benchmark, title) = 100 * tuned["value"], PUBLISHED_BENCHMARKS[column]
    printed = {
        access: [p for p in evidence["published"] if p[column] is not None and p["access"] == access]
        for access in ("closed", "open")
    }
    above = [
        f"{sum(p[column] < ours for p in rows)} of the {len(rows)} {access} models" for access, rows in printed.items() if rows
    ]
    text = f"On {title} the tuned model ({ours:.1f} %) is above {' and '.join(above)} as printed"
    if not printed["closed"]:
        return f"{text}."
    best = max(printed["closed"], key=lambda p: float(p[column]))
    base = score_of(evidence, BASE, benchmark)
    was = f"was {_from(best[column], 100 * base['value'])} the base model and " if base else ""
    named = f"{best['model']}, the best closed one with {best[column]:.1f} %"
    return f"{text}; {named}, {was}is {_from(best[column], ours)} the tuned one."


def _from(printed: float, ours: float) -> str:
    return f"{abs(printed - ours):.1f} points {'below' if printed < ours else 'above'}"


def _rq3(evidence: Mapping[str, Any]) -> str:
    later = [c for c in evidence["against_seeds"] if c["benchmark"] != evidence["development"]]
    found = []
    for name in dict.fromkeys(c["benchmark"] for c in later):
        here = [c for c in later if c["benchmark"] == name]
        if best := max(filter(told, here), key=lambda c: float(c["difference"]), default=None):
            found.append(f"on {name} rounds 0 to {best['round']} give {points(best['difference'])} points ({_interval(best)})")
        else:
            rounds = _listed([str(c["round"]) for c in here])
            found.append(f"on {name} no difference can be told for rounds 0 to {rounds}")
    needed = "models of the seeds alone and of rounds 0 to k, scored on a test benchmark"
    if found:
        text = f"Against the seeds alone: {'; '.join(found)}."
    elif evidence["settings"].get("study", {}).get("base_rounds"):
        text = f"Not answered yet: it takes {needed}."
    else:
        text = f"Not answered on test sets: it takes {needed} (study.base_rounds)."
    if evidence["stopping"]:
        text += (
            f" On the development set, {evidence['stopping']['development']}: {evidence['stopping']['decisions'][-1]['reason']}"
        )
    return text


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
