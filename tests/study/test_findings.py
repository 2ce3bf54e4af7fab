"""What a report says was found, and which limits it tells, from made-up evidence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.study.evidence.findings import findings, told
from evolcoder.study.evidence.limits import limits, unchecked

SHARE = st.floats(-1, 1).map(lambda value: round(value, 3))


def score(role: str, benchmark: str = "humaneval", value: float = 0.4, **changed: Any) -> dict[str, Any]:
    return {
        "role": role,
        "benchmark": benchmark,
        "development": benchmark == "mbpp-dev",
        "k": 1,
        "value": value,
        "interval": [value - 0.05, value + 0.05],
        "style": "chat",
        "tasks": 164,
        "benchmark_tasks": 164,
        "samples": 1,
        "settings": {},
        **changed,
    }


def comparison(difference: float = 0.1, p: float = 0.01, benchmark: str = "humaneval", **changed: Any) -> dict[str, Any]:
    return {
        "benchmark": benchmark,
        "development": benchmark == "mbpp-dev",
        "shared": 164,
        "difference": difference,
        "interval": [difference - 0.05, difference + 0.05],
        "p_corrected": p,
        "problems_needed": 500,
        **changed,
    }


def evidence(**changed: Any) -> dict[str, Any]:
    return {
        "missing": [],
        "scores": [score("base", value=0.3), score("tuned", value=0.4)],
        "comparisons": [comparison()],
        "against_seeds": [],
        "development": "mbpp-dev",
        "published": [
            {"model": "Small", "access": "open", "humaneval": 20.0, "mbpp": None, "ds1000_insertion": None},
            {"model": "Large", "access": "closed", "humaneval": 67.0, "mbpp": None, "ds1000_insertion": None},
        ],
        "rounds": [],
        "trainings": [{"model": "tuned"}],
        "stopping": None,
        "differing_rules": {},
        "settings": {},
        **changed,
    }


def about(**changed: Any) -> dict[str, str]:
    return {limit["about"]: limit["text"] for limit in limits(evidence(**changed))}


@given(difference=SHARE, p=st.floats(0, 1))
def test_a_difference_is_only_claimed_when_it_can_be_told(difference: float, p: float) -> None:
    found = findings(evidence(comparisons=[comparison(difference, p)]))
    claims = any(verb in found["main"] for verb in ("raised", "lowered"))
    assert claims == (p < 0.05 and difference != 0)
    assert ("No difference can be told" in found["main"]) != claims
    assert f"{100 * difference:+.1f} points" in found["main"], "the numbers stand there either way"
    if claims:
        assert ("raised" in found["main"]) == (difference > 0)


def test_what_was_found_on_several_benchmarks_is_one_sentence() -> None:
    found = [comparison(0.1), comparison(-0.2, benchmark="mbpp"), comparison(0.01, p=0.9, benchmark="ds1000")]
    said = findings(evidence(comparisons=found))["rq1"]
    assert said == (
        "The tuned model gained on humaneval (+10.0 points) and lost on mbpp (-20.0 points); "
        "on ds1000 no difference can be told."
    )


def test_the_development_set_is_no_result() -> None:
    found = findings(evidence(comparisons=[comparison(benchmark="mbpp-dev")]))
    assert found["main"].startswith("There is no result yet")
    assert found["rq1"].startswith("Not answered yet")


def test_the_gap_to_closed_models_is_told_before_and_after() -> None:
    said = findings(evidence())["rq2"]
    assert said.startswith("On HumanEval the tuned model (40.0 %) is above 0 of the 1 closed models and 1 of the 1 open models")
    assert "67.0 %, was 37.0 points above the base model and is 27.0 points above the tuned one." in said
    better = evidence(scores=[score("tuned", value=0.7)])
    assert "Large, the best closed one with 67.0 %, is 3.0 points below the tuned one." in findings(better)["rq2"]
    assert said.endswith("context, not a comparison.")


def test_rounds_are_told_from_the_seeds_alone_on_test_sets() -> None:
    later = [{**comparison(0.05 * k, p), "round": k} for k, p in ((1, 0.3), (2, 0.01), (3, 0.04))]
    said = findings(evidence(against_seeds=later))["rq3"]
    assert (
        said
        == "Against the seeds alone: on humaneval rounds 0 to 3 give +15.0 points (95 % interval +10.0 to +20.0, p = 0.04)."
    )
    flat = [{**one, "p_corrected": 0.5} for one in later]
    said = findings(evidence(against_seeds=flat))["rq3"]
    assert said == "Against the seeds alone: on humaneval no difference can be told for rounds 0 to 1, 2 and 3."
    dev = [{**one, "benchmark": "mbpp-dev"} for one in later]
    assert findings(evidence(against_seeds=dev))["rq3"].startswith("Not answered on test sets")
    asked = {"study": {"base_rounds": [0, 1]}}
    assert findings(evidence(settings=asked))["rq3"].startswith("Not answered yet")


def test_nothing_scored_is_said() -> None:
    nothing = evidence(scores=[], comparisons=[])
    assert findings(nothing)["main"] == "No model is scored yet, so nothing is known of what evolving did to pass@1."
    assert not {limit["about"] for limit in limits(nothing)} & {"Other harnesses", "What was used for what", "One sample"}


@pytest.mark.parametrize(
    ("benchmark", "compared_with", "expected"),
    [
        ("humaneval", ["humaneval"], False),
        ("humaneval+", ["humaneval"], False),
        ("mbpp-dev", ["mbpp"], False),
        ("mbpp", ["mbpp+"], True),
        ("mbpp+", ["mbpp"], False),
        ("ds1000-insertion", ["ds1000"], False),
        ("ds1000", ["humaneval", "mbpp"], True),
        ("humaneval", [], True),
    ],
)
def test_a_benchmark_is_checked_when_all_its_problems_were_looked_for(
    benchmark: str, compared_with: list[str], expected: bool
) -> None:
    assert unchecked(benchmark, compared_with) is expected


def test_contamination_that_was_not_looked_for_is_a_limit_by_round() -> None:
    rounds = [{"round": n, "contamination": {"benchmarks": {"humaneval": "v"}} if n else None} for n in range(3)]
    scores = [score(role, benchmark) for benchmark in ("humaneval", "mbpp") for role in ("base", "tuned")]
    found = [
        one["text"] for one in limits(evidence(scores=scores, rounds=rounds)) if one["about"] == "Contamination not checked"
    ]
    assert found == [
        "The rows of round 0 were not compared with humaneval: some may hold their problems.",
        "The rows of round 0, 1, 2 were not compared with mbpp: some may hold their problems.",
    ]


def test_each_limit_is_told_where_it_holds_and_only_there() -> None:
    plain = about()
    assert "The tuned model was trained once" in plain["One training seed"]
    assert "Nothing" not in plain["What was used for what"]
    for absent in ("Not all problems", "Prompt style", "Differing rules", "Not finished", "Too few problems to tell"):
        assert absent not in plain
    assert "One training seed" not in about(trainings=[{"model": "tuned"}, {"model": "tuned-seed-1"}])
    assert "32 of 164" in about(scores=[score("tuned", tasks=32)])["Not all problems"]
    assert "in the style base" in about(scores=[score("base", style="base"), score("tuned")])["Prompt style"]
    assert (
        "(seed: 0 against 1)"
        in about(differing_rules={"humaneval": ["style: a against b", "seed: 0 against 1"]})["Differing rules"]
    )
    assert "One sample" not in about(scores=[score("tuned", samples=20)])
    assert "about 500 problems" in about(comparisons=[comparison(p=0.2)])["Too few problems to tell"]
    assert "dataset (to do)" in about(missing=[{"stage": "dataset", "state": "to do"}])["Not finished"]
    stopped = about(stopping={"development": "mbpp-dev"})["What was used for what"]
    assert stopped.startswith("mbpp-dev alone chose how many rounds to evolve.")
    assert about(scores=[score("tuned", warnings=["no sandbox"])])["Said by the evaluation"] == "tuned on humaneval: no sandbox"


def test_a_p_value_at_the_level_tells_nothing() -> None:
    assert not told(comparison(p=0.05))
    assert told(comparison(p=0.0499))
