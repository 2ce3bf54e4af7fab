from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolcoder.console import Reporter
from evolcoder.errors import DataError, RunFolderError
from evolcoder.records import VERDICT_SCHEMA, Verdict, VerdictStatus
from evolcoder.storage.arrow_files import arrow_bytes
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Stage
from evolcoder.study.compare import compare, compare_evaluations, corrected, show_comparisons


def test_flips_are_named_both_ways() -> None:
    result = compare({"a": True, "b": False, "c": True}, {"a": True, "b": True, "c": False})
    assert (result.gained, result.lost, result.shared) == (["b"], ["c"], 3)


def test_only_shared_problems_count() -> None:
    result = compare({"a": True, "b": False}, {"b": True, "z": True})
    assert (result.shared, result.gained, result.lost) == (1, ["b"], [])


def test_mcnemar_exact_against_the_textbook() -> None:
    """Ten flips, all one way: 2 x (1/2)^10."""
    first = {str(i): False for i in range(10)}
    assert compare(first, dict.fromkeys(first, True)).p_value == 2 / 2**10


@given(st.dictionaries(st.text(max_size=3), st.tuples(st.booleans(), st.booleans())))
def test_order_of_models_does_not_change_the_p_value(pairs: dict[str, tuple[bool, bool]]) -> None:
    first = {task: pair[0] for task, pair in pairs.items()}
    second = {task: pair[1] for task, pair in pairs.items()}
    there, back = compare(first, second), compare(second, first)
    assert there.p_value == back.p_value
    assert (there.gained, there.lost) == (back.lost, back.gained)
    assert 0 <= there.p_value <= 1


def test_how_many_problems_would_show_a_difference() -> None:
    """As Connor 1987 has it for pairs of 0 and 1: (1.96 + 0.84)^2 x the variance of the differences / difference^2."""
    first = {str(n): False for n in range(100)}
    second = {str(n): n < 10 for n in range(100)}  # 10 points better: of each difference the variance is 0.0909
    assert compare(first, second).problems_needed == 72
    assert compare(first, first).problems_needed is None
    assert compare({"a": True}, {"a": False}).problems_needed is None
    assert compare({}, {}).problems_needed is None


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(2, 6))
def test_more_problems_of_the_same_kind_need_not_many_more(flips: int, times: int) -> None:
    few = compare({str(n): False for n in range(10)}, {str(n): n < flips for n in range(10)})
    many = compare({str(n): False for n in range(10 * times)}, {str(n): n < flips * times for n in range(10 * times)})
    assert few.problems_needed is not None
    assert many.problems_needed is not None
    assert abs(few.problems_needed - many.problems_needed) <= 0.12 * few.problems_needed + 1


def test_rates_of_several_samples_are_permuted() -> None:
    first = {str(i): 0.2 for i in range(12)}
    better = compare(first, dict.fromkeys(first, 0.6))
    assert better.test.startswith("paired permutation")
    assert better.difference == pytest.approx(0.4)
    assert better.p_value == pytest.approx(2 / 2**12, abs=0.002)
    mixed = {task: 0.6 if int(task) % 2 else 0.0 for task in first}
    assert compare(first, mixed).p_value > 0.2


def test_a_difference_has_an_interval() -> None:
    first = {str(n): float(n < 40) for n in range(100)}
    second = {str(n): float(n < 50) for n in range(100)}
    low, high = compare(first, second).interval
    assert low < 0.1 < high
    assert (low, high) == tuple(-end for end in reversed(compare(second, first).interval))
    assert compare({}, {}).interval == (-1.0, 1.0)


def test_several_comparisons_are_corrected_for_their_number() -> None:
    a, b, c = ({str(n): float(n < solved) for n in range(20)} for solved in (4, 10, 11))
    found = corrected({"ab": compare(a, b), "ac": compare(a, c), "bc": compare(b, c)})
    assert [one.p_value for one in found.values()] == [2 / 2**6, 2 / 2**7, 1.0]
    assert [one.p_corrected for one in found.values()] == [2 * 2 / 2**6, 3 * 2 / 2**7, 1.0]
    chosen = corrected({"ca": compare(c, a)})["ca"]
    assert (chosen.difference, chosen.p_corrected) == (-0.35, 2 / 2**7)


def test_the_test_is_named_by_the_number_of_samples() -> None:
    """Also where every problem's samples fared alike, so that the shares are those of one sample."""
    first, second = {"a": 0.0, "b": 1.0}, {"a": 1.0, "b": 1.0}
    assert compare(first, second).test == "McNemar, exact"
    for samples in ((5, 5), (1, 5)):
        several = compare(first, second, samples)
        assert several.test == "paired permutation, exact"
        assert several.p_value == compare(first, second).p_value
    assert (compare(first, second, (5, 5)).samples, compare(first, second, (1, 5)).samples) == (5, 1)


def evaluation(place: Path, statuses: dict[str, list[VerdictStatus]], benchmark: str = "humaneval") -> Folder:
    folder = Folder.open(place).make()
    samples = min(map(len, statuses.values()))
    folder.write_text("score.json", json.dumps({"benchmark": benchmark, "benchmark_version": "v1", "samples": samples}))
    rows = [Verdict(task, 0, s, s, None, "", "", 0.0, 0.0).to_row() for task, found in statuses.items() for s in found]
    folder.write_bytes("verdicts.arrow", arrow_bytes(rows, VERDICT_SCHEMA))
    Stage("evaluate", folder, {}).publish(["score.json", "verdicts.arrow"])
    return folder


def test_two_folders_are_compared_and_the_flips_are_listed(tmp_path: Path) -> None:
    first = evaluation(tmp_path / "a", {"H/2": ["failed"], "H/10": ["timeout"], "H/3": ["passed"], "H/4": ["passed"]})
    second = evaluation(tmp_path / "b", {"H/2": ["passed"], "H/10": ["passed"], "H/3": ["failed"], "H/4": ["passed"]})
    stream = io.StringIO()
    show_comparisons(compare_evaluations([first, second]), Reporter("plain", stream))
    assert "gained: H/2, H/10" in stream.getvalue()
    assert "lost: H/3" in stream.getvalue()
    assert "McNemar" in stream.getvalue()


WRONG: list[VerdictStatus] = ["failed"] * 4
HALF: list[VerdictStatus] = ["passed", "passed", "failed", "failed"]
MORE: list[VerdictStatus] = ["passed", "passed", "passed", "failed"]
TASKS = [f"H/{number}" for number in range(40)]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (HALF, dict.fromkeys(TASKS, MORE), "about 2 samples of each of these tasks would show"),
        (WRONG, dict.fromkeys(TASKS, WRONG) | {"H/0": ["passed"] * 4}, "no number of samples of these tasks, only more tasks,"),
    ],
)
def test_with_several_samples_it_says_how_many_would_show_it(
    tmp_path: Path, before: list[VerdictStatus], after: dict[str, list[VerdictStatus]], said: str
) -> None:
    first = evaluation(tmp_path / "a", dict.fromkeys(TASKS, before))
    stream = io.StringIO()
    show_comparisons(compare_evaluations([first, evaluation(tmp_path / "b", after)]), Reporter("plain", stream))
    assert said in stream.getvalue()
    assert "paired permutation" in stream.getvalue()


def test_every_two_of_several_folders_are_compared(tmp_path: Path) -> None:
    folders = [
        evaluation(tmp_path / name, {f"H/{task}": ["passed" if task < solved else "failed"] for task in range(12)})
        for name, solved in (("a", 2), ("b", 2), ("c", 9))
    ]
    pairs = compare_evaluations(folders)
    assert [(first[-1], second[-1], one.difference) for (first, second), one in pairs.items()] == [
        ("a", "b", 0.0), ("a", "c", pytest.approx(7 / 12)), ("b", "c", pytest.approx(7 / 12)),
    ]  # fmt: skip
    stream = io.StringIO()
    show_comparisons(pairs, Reporter("plain", stream))
    assert "p corrected for 3 comparisons by Holm's method" in stream.getvalue()
    assert stream.getvalue().count("0.0469") == 2  # 3 x 2 / 2^7
    with pytest.raises(DataError, match="A folder is named twice"):
        compare_evaluations([*folders, folders[0]])
    other = evaluation(tmp_path / "d", {"H/99": ["passed"]})
    with pytest.raises(DataError, match="have no problem in common"):
        compare_evaluations([*folders, other])


def test_what_cannot_be_compared_is_one_sentence(tmp_path: Path) -> None:
    first = evaluation(tmp_path / "a", {"H/2": ["failed"]})
    other = evaluation(tmp_path / "b", {"M/2": ["failed"]}, "mbpp")
    with pytest.raises(DataError, match=r"is of humaneval and .* of mbpp: they cannot be compared"):
        compare_evaluations([first, other])
    elsewhere = evaluation(tmp_path / "d", {"H/3": ["failed"]})
    with pytest.raises(DataError, match=r"have no problem in common; evaluate both with the same evaluate\.limit"):
        compare_evaluations([first, elsewhere])
    (tmp_path / "c").mkdir()
    with pytest.raises(DataError, match="holds no finished evaluation"):
        compare_evaluations([first, Folder.open(tmp_path / "c")])


def test_an_evaluation_that_is_being_made_again_is_not_compared(tmp_path: Path) -> None:
    first, second = (evaluation(tmp_path / name, {"H/2": ["failed"]}) for name in "ab")
    second.delete("manifest.json")
    with pytest.raises(DataError, match="b holds no finished evaluation"):
        compare_evaluations([first, second])


def test_what_could_not_be_run_is_not_taken_for_wrong(tmp_path: Path) -> None:
    first, second = evaluation(tmp_path / "a", {"H/2": ["passed"]}), evaluation(tmp_path / "b", {"H/2": ["infra_error"]})
    with pytest.raises(DataError, match=r"b holds programs that could not be run \(H/2\); evaluate it again first"):
        compare_evaluations([first, second])


def test_verdicts_that_are_not_those_of_the_score_are_not_compared(tmp_path: Path) -> None:
    """As an evaluation left them that wrote its verdicts, and then refused a score, before manifests went first."""
    first, second = (evaluation(tmp_path / name, {"H/2": ["passed"]}) for name in "ab")
    rows = [Verdict("H/2", 0, "infra_error", "infra_error", None, "", "", 0.0, 0.0).to_row()]
    second.write_bytes("verdicts.arrow", arrow_bytes(rows, VERDICT_SCHEMA))
    with pytest.raises(RunFolderError, match=r"b is damaged: verdicts\.arrow"):
        compare_evaluations([first, second])
