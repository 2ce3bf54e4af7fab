"""What a reader must know before believing a number: each limit that this run has, said by itself. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from evolcoder.run.variants import BASE, TUNED
from evolcoder.study.evidence.findings import LEVEL
from evolcoder.study.evidence.scores import BESIDE

_HOLDERS = {
    "humaneval": {"humaneval+"},
    "humaneval+": {"humaneval"},
    "mbpp+": {"mbpp"},
    "mbpp-dev": {"mbpp"},
    "ds1000-insertion": {"ds1000"},
}
"""Which other benchmarks hold all problems of one; the converse does not follow: ``mbpp+`` is a part of ``mbpp``."""
_MOST_NAMED = 6

Limit = tuple[str, str]
"""What it is about, in a word or two; and what it is, in a sentence or two."""


def limits(evidence: Mapping[str, Any]) -> list[dict[str, str]]:
    """Each as ``about`` and ``text``; what weighs most comes first."""
    own = [score for score in evidence["scores"] if not score["role"].startswith(BESIDE)]
    found: list[Limit] = []
    if missing := evidence["missing"]:
        named = ", ".join(f"{one['stage']} ({one['state']})" for one in missing[:_MOST_NAMED])
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        found.append(("Not finished", f"This report was drawn before all was made. Still to do: {named}{more}."))
    found += [*_chance(evidence), *_contamination(evidence, own), *_rules(evidence, own)]
    if own:
        found.append(("What was used for what", _roles(evidence, own)))
        text = "Published numbers were measured with other prompts, harnesses and sampling: context, not a comparison."
        found.append(("Other harnesses", text))
    for score in own:
        where = f"{score['role']} on {score['benchmark']}"
        found += [("Said by the evaluation", f"{where}: {text}") for text in score.get("warnings", ())]
    return [{"about": about, "text": text} for about, text in found]


def unchecked(benchmark: str, compared_with: Collection[str]) -> bool:
    """Whether training rows that hold problems of a benchmark may have been kept, for none were looked for."""
    return not {benchmark, *_HOLDERS.get(benchmark, ())} & set(compared_with)


def _chance(evidence: Mapping[str, Any]) -> Iterator[Limit]:
    for c in evidence["comparisons"]:
        if not c["development"] and c["p_corrected"] >= LEVEL and c["problems_needed"]:
            size = f"a difference of {100 * c['difference']:+.1f} points would need about {c['problems_needed']:,} problems"
            text = f"{c['benchmark']}: {size} to be shown (p < {LEVEL}, four times of five); there were {c['shared']}."
            yield "Too few problems to tell", text
    trained = {training["model"] for training in evidence["trainings"]}
    if TUNED in trained and not any(model.startswith(f"{TUNED}-seed-") for model in trained):
        unknown = "Intervals are over problems; how much another seed would move the score is not known"
        yield "One training seed", f"The tuned model was trained once. {unknown} (`study.seeds` trains again under others)."


def _contamination(evidence: Mapping[str, Any], own: Sequence[Mapping[str, Any]]) -> Iterator[Limit]:
    open_rounds: defaultdict[str, list[str]] = defaultdict(list)
    for benchmark in dict.fromkeys(score["benchmark"] for score in own):
        compared = {one["round"]: (one["contamination"] or {}).get("benchmarks", ()) for one in evidence["rounds"]}
        rounds = ", ".join(str(number) for number, names in compared.items() if unchecked(benchmark, names))
        if rounds:
            open_rounds[rounds].append(benchmark)
    for rounds, names in open_rounds.items():
        text = f"The rows of round {rounds} were not compared with {', '.join(names)}: some may hold their problems."
        yield "Contamination not checked", text
    if own:
        text = "What the base model and the teacher saw before is not known. A copy in entirely new words is not found."
        yield "Contamination before this run", text


def _rules(evidence: Mapping[str, Any], own: Sequence[Mapping[str, Any]]) -> Iterator[Limit]:
    for benchmark, tasks, of in dict.fromkeys((score["benchmark"], score["tasks"], score["benchmark_tasks"]) for score in own):
        if tasks < of:
            yield "Not all problems", f"{benchmark}: {tasks} of {of} problems were scored; the others could change the result."
    asked: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    styles = {(score["benchmark"], score["role"]): score["style"] for score in own}
    for benchmark in dict.fromkeys(score["benchmark"] for score in own):
        base, tuned = styles.get((benchmark, BASE)), styles.get((benchmark, TUNED))
        if base and tuned and base != tuned:
            asked[base, tuned].append(benchmark)
    for (base, tuned), names in asked.items():
        text = f"{', '.join(names)}: the base model was asked in the style {base}, the tuned one in {tuned}, as each expects"
        yield "Prompt style", f"{text}; the difference between them holds that of the prompts."
    for benchmark, rules in evidence["differing_rules"].items():
        others = "; ".join(rule for rule in rules if not rule.startswith("style: "))
        if others:
            yield "Differing rules", f"{benchmark}: not all models were measured under the same rules ({others})."
    if own and all(score["samples"] == 1 for score in own):
        yield "One sample", "Each model answered each problem once; pass@1 of several samples would be less coarse."


def _roles(evidence: Mapping[str, Any], own: Sequence[Mapping[str, Any]]) -> str:
    tests = ", ".join(dict.fromkeys(score["benchmark"] for score in own if not score["development"])) or "none scored yet"
    if evidence["stopping"]:
        used = f"{evidence['stopping']['development']} alone chose how many rounds to evolve"
    elif any(score["development"] for score in own):
        used = f"{evidence['development']} is the development set, so its scores are no results; the settings chose the rounds"
    else:
        used = "No score chose anything: the settings say how many rounds there are"
    return f"{used}. Test sets, which chose nothing: {tests}."
