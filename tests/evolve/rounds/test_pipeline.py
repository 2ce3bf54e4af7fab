"""Whole rounds on a real Ray against the scripted teacher, and attacks on what the stage promises."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from tests.evolve.rounds.test_worker import OddTeacher

from evolcoder.console import Reporter
from evolcoder.endpoint.requests import Endpoint
from evolcoder.endpoint.scripted.server import Script, ScriptedTeacher, scripted_teacher
from evolcoder.errors import BudgetError, DataError, EndpointError, IncompleteError, RunBusyError, RunFolderError
from evolcoder.evolve.dataset.build import build_dataset
from evolcoder.evolve.rounds.identity import check_benchmarks, finished_rounds, round_stages
from evolcoder.evolve.rounds.on_ray import plain_causes
from evolcoder.problems.files import benchmark_rows
from evolcoder.run.folder import RunFolder
from evolcoder.settings.files import parse_settings
from evolcoder.settings.run import RunSettings
from evolcoder.storage.arrow_files import read_rows
from evolcoder.storage.stage import Manifest

ROWS = 24
CONTENT_FAULTS = {"refusal": 0.08, "empty": 0.04}
TRANSPORT_FAULTS = {"retry_after": 0.1, "error_500": 0.05, "dropped": 0.01, "html": 0.01}
PROBLEM = next(row for row in benchmark_rows("humaneval") if row["task_id"] == "HumanEval/1")
PRICES = {"usd_per_million_input_tokens": 100.0, "usd_per_million_output_tokens": 200.0}


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    path = tmp_path / "seeds.jsonl"
    rows = [{"instruction": f"Write a function that adds {n}.", "input": "", "output": f"x + {n}"} for n in range(ROWS)]
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return path


def plain_settings(storage: Path, seeds: Path, teacher: dict[str, Any] | None = None, **evolve: Any) -> dict[str, Any]:
    wanted = {"base_url": "http://unused/v1", "model": Script.model, "max_tokens": 200, "max_concurrency": 8}
    return {
        "name": "r",
        "storage": str(storage),
        "seeds": {"path": str(seeds)},
        "teacher": wanted | (teacher or {}),
        "evolve": {"rounds": 1, "workers": 2, "rows_per_shard": 10} | evolve,
    }


def settings_in(storage: Path, seeds: Path, teacher: dict[str, Any] | None = None, **evolve: Any) -> RunSettings:
    return parse_settings(plain_settings(storage, seeds, teacher, **evolve), "the test")


def run_evolve(settings: RunSettings, teacher: ScriptedTeacher, attempts: int = 6) -> tuple[list[Manifest], str]:
    from evolcoder.evolve.rounds.pipeline import evolve

    said = io.StringIO()
    endpoint = Endpoint(teacher.base_url, Script.model, timeout_seconds=20, max_attempts=attempts)
    return evolve(settings, RunFolder.open(settings), [endpoint], Reporter("plain", said)), said.getvalue()


def hashes(manifests: list[Manifest]) -> list[str]:
    return [manifest.content_hash for manifest in manifests]


@pytest.mark.slow
def test_a_teacher_with_faults_makes_whole_rounds_and_a_second_run_sends_nothing(
    local_ray: None, tmp_path: Path, seeds: Path
) -> None:
    faults = CONTENT_FAULTS | TRANSPORT_FAULTS
    with scripted_teacher(Script(faults=faults, retry_after_seconds=0.02, latency_seconds=0.02)) as teacher:
        settings = settings_in(tmp_path / "one", seeds, rounds=2, workers=1)
        first, _ = run_evolve(settings, teacher)
        counts = teacher.counts()
        assert counts["requests"] <= 1.35 * counts["distinct"]
        assert counts["answered_again"] == counts["early"] == 0
        assert counts["most_in_flight"] <= 8
        again, said = run_evolve(settings, teacher)
        assert teacher.counts()["requests"] == counts["requests"]
        assert "round 01 is done" in said
        assert hashes(again) == hashes(first)
        one_more = settings_in(tmp_path / "one", seeds, rounds=3)
        other_seed = settings_in(tmp_path / "one", seeds, rounds=2, seed=1)
        done = [len(finished_rounds(round_stages(s, RunFolder.open(s)))) for s in (settings, one_more, other_seed)]
        assert done == [3, 3, 1]
    for number, manifest in enumerate(first):
        folder = RunFolder.open(settings).round(number)
        rows = list(read_rows(folder, "*.arrow"))
        assert len({row["root_id"] for row in rows}) == len(rows) == manifest.rows == ROWS
        assert all(row["status"] == ("kept" if row["reason"] is None else "eliminated") for row in rows)
    assert first[1].summary["eliminated"] > 0
    merged = build_dataset(settings, RunFolder.open(settings), Reporter("plain", io.StringIO()))
    kept = [manifest.summary["kept"] for manifest in first]
    assert merged.rows == sum(kept) - merged.summary["duplicates"]


@pytest.mark.long
def test_any_number_of_workers_and_any_faults_make_the_same_rounds(local_ray: None, tmp_path: Path, seeds: Path) -> None:
    made = []
    for workers, faults in ((1, TRANSPORT_FAULTS), (2, {}), (8, {})):
        script = Script(faults=CONTENT_FAULTS | faults, retry_after_seconds=0.02, latency_seconds=0.02)
        with scripted_teacher(script) as teacher:
            settings = settings_in(tmp_path / f"by {workers}", seeds, rounds=2, workers=workers)
            made.append(hashes(run_evolve(settings, teacher)[0]))
    assert made[0] == made[1] == made[2]


class _Copyist(Script):
    """A teacher that knows a benchmark by heart, and says some things twice."""

    def text(self, request_hash: str) -> str:
        if request_hash[0] in "0123":
            return str(PROBLEM["prompt"])
        return "Write a parser for dates of three calendars." if request_hash[0] in "4567" else super().text(request_hash)


@pytest.mark.slow
def test_copies_fall_whatever_the_workers_and_every_one_is_accounted_for(local_ray: None, tmp_path: Path, seeds: Path) -> None:
    with seeds.open("a", encoding="utf-8") as file:
        for instruction in (f"Complete this:\n{PROBLEM['prompt']}", "Write a FUNCTION that adds 3"):
            file.write("\n" + json.dumps({"instruction": instruction, "output": "pass"}))
    made = []
    for workers in (1, 3):
        settings = settings_in(tmp_path / str(workers), seeds, workers=workers)
        with scripted_teacher(_Copyist()) as teacher:
            manifests, said = run_evolve(settings, teacher)
        made.append(hashes(manifests))
        assert "2 of 26 seeds are left out: contaminated 1, duplicate 1" in said
    assert made[0] == made[1]
    run = RunFolder.open(settings)
    assert [manifest.summary["kept"] for manifest in manifests[:1]] == [ROWS]
    for number, manifest in enumerate(manifests):
        folder = run.round(number)
        rejected = {row["id"]: row for row in read_rows(folder, "rejected-*.arrow")}
        hits = json.loads(folder.read_text("contamination.json"))["hits"]
        duplicates = json.loads(folder.read_text("duplicates.json"))["duplicates"]
        assert {hit["row_id"] for hit in hits} == {id for id, row in rejected.items() if row["reason"] == "contaminated"}
        assert {one["row_id"] for one in duplicates} == {id for id, row in rejected.items() if row["reason"] == "duplicate"}
        assert {hit["task_id"] for hit in hits} <= {PROBLEM["task_id"]}
        assert hits
        assert duplicates
        assert {entry.path for entry in manifest.files} >= {"contamination.json", "duplicates.json"}
        assert manifest.rows == (ROWS + 2 if number == 0 else ROWS), "a parent returns for each row that falls"
    build_dataset(settings, run, Reporter("plain", io.StringIO()))
    found = json.loads(run.dataset.read_text("contamination.json"))
    assert {hit["round"] for hit in found["hits"]} == {0, 1}
    rows = list(read_rows(run.dataset, "train-*.arrow"))
    assert not any(PROBLEM["entry_point"] in row["instruction"] + row["response"] for row in rows)
    assert sum("three calendars" in row["instruction"] for row in rows) == 1


def test_a_missing_benchmark_is_said_before_anything_starts(
    tmp_path: Path, seeds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EVOLCODER_DATA", raising=False)
    monkeypatch.setenv("EVOLCODER_CACHE", str(tmp_path))
    settings = settings_in(tmp_path, seeds, decontaminate=["humaneval", "ds1000"])
    with pytest.raises(DataError, match=r"The data of ds1000 is missing; .*; or leave ds1000 out of evolve.decontaminate."):
        check_benchmarks(settings.evolve)


@pytest.mark.slow
def test_seeds_that_are_all_copies_are_one_sentence(local_ray: None, tmp_path: Path, seeds: Path) -> None:
    seeds.write_text(json.dumps({"instruction": PROBLEM["prompt"], "output": "pass"}), "utf-8")
    with scripted_teacher() as teacher:
        with pytest.raises(DataError, match="None of the 1 seeds is left"):
            run_evolve(settings_in(tmp_path, seeds), teacher)
        assert teacher.counts()["requests"] == 0


@pytest.mark.slow
def test_a_judge_is_paid_once_like_everything_else(local_ray: None, tmp_path: Path, seeds: Path) -> None:
    settings = settings_in(tmp_path, seeds, judge=True)
    with scripted_teacher() as teacher:
        manifests, _ = run_evolve(settings, teacher)
        assert teacher.counts()["answered"] == 3 * ROWS
        RunFolder.open(settings).round(1).delete("manifest.json")
        again, _ = run_evolve(settings, teacher)
        assert teacher.counts()["answered"] == 3 * ROWS
    assert hashes(again) == hashes(manifests)


@pytest.mark.slow
def test_failed_rows_leave_the_round_open_and_only_they_are_asked_again(local_ray: None, tmp_path: Path, seeds: Path) -> None:
    settings = settings_in(tmp_path, seeds)
    with scripted_teacher(Script(faults={"error_500": 0.2})) as teacher:
        with pytest.raises(IncompleteError, match="server_error: 500"):
            run_evolve(settings, teacher, attempts=1)
        assert not RunFolder.open(settings).round(1).exists("manifest.json")
        answered = teacher.counts()["answered"]
        manifests, _ = run_evolve(settings, teacher)
        assert teacher.counts()["answered_again"] == 0
        assert answered < teacher.counts()["answered"] == 2 * ROWS
    assert manifests[1].summary["kept"] == ROWS


@pytest.mark.slow
def test_a_budget_is_never_exceeded_and_raising_it_goes_on(local_ray: None, tmp_path: Path, seeds: Path) -> None:
    def spent(teacher: ScriptedTeacher) -> float:
        counts = teacher.counts()
        return (counts["prompt_tokens"] * 100 + counts["completion_tokens"] * 200) / 1e6

    with scripted_teacher(Script(faults={"dropped": 0.03, "error_500": 0.05})) as teacher:
        for attempt in range(2):
            with pytest.raises(BudgetError, match=r"0\.4 USD.*Raise teacher.budget_usd"):
                run_evolve(settings_in(tmp_path, seeds, {"budget_usd": 0.4, **PRICES}), teacher)
            assert 0.2 < spent(teacher) <= 0.4, attempt
        manifests, _ = run_evolve(settings_in(tmp_path, seeds, {"budget_usd": 40.0, **PRICES}), teacher)
        assert teacher.counts()["answered_again"] == 0
    assert manifests[1].summary["kept"] == ROWS
    assert manifests[1].summary["usd"] > 0.4


@pytest.mark.slow
def test_a_teacher_that_goes_away_stops_the_run_with_a_sentence(local_ray: None, tmp_path: Path, seeds: Path) -> None:
    class _Gone(ScriptedTeacher):
        """Refuses the key of every request after the first ten."""

        def authorised(self, request: Any) -> bool:
            return request.path.endswith("/models") or sum(self._asked.values()) < 10

    with scripted_teacher(Script(), kind=_Gone) as teacher:
        with pytest.raises(EndpointError, match="refuses the API key"):
            run_evolve(settings_in(tmp_path, seeds), teacher)
        assert teacher.counts()["refused"] <= 8
    with scripted_teacher(Script()) as teacher:
        run_evolve(settings_in(tmp_path, seeds), teacher)
        assert teacher.counts()["answered"] == 2 * ROWS - 10


@pytest.mark.slow
def test_odd_replies_become_rows_or_fall_and_the_round_closes(local_ray: None, tmp_path: Path, seeds: Path) -> None:
    with scripted_teacher(kind=OddTeacher) as teacher:
        settings = settings_in(tmp_path, seeds)
        manifests, said = run_evolve(settings, teacher)
        counts = teacher.counts()
        assert hashes(run_evolve(settings, teacher)[0]) == hashes(manifests)
        assert teacher.counts() == counts
    rows = list(read_rows(RunFolder.open(settings).round(1), "*.arrow"))
    assert {row["reason"] for row in rows} == {None, "refused"}
    kept = [row for row in rows if row["status"] == "kept"]
    assert 0 < len(kept) < ROWS
    assert all(row["response"].endswith(" \ufffd") and "think" not in row["response"] for row in kept)
    assert f"the thinking in {counts['answered']} replies is left out" in said
    assert f"halves of surrogate pairs in replies, each U+FFFD now: {counts['answered']}" in said


@pytest.mark.slow
def test_a_sentence_raised_in_a_task_stays_a_sentence(local_ray: None) -> None:
    import ray

    from evolcoder.evolve.rounds.on_ray import plain_causes

    @ray.remote(num_cpus=0)
    def fill_the_disk() -> None:
        raise RunFolderError("The disk is full.")

    with pytest.raises(RunFolderError) as caught, plain_causes():
        ray.get(fill_the_disk.remote())
    assert caught.value.message == "The disk is full."
    assert type(caught.value) is RunFolderError


def test_two_runs_of_one_name_do_not_work_at_once(tmp_path: Path, seeds: Path) -> None:
    settings = settings_in(tmp_path, seeds)
    with (
        scripted_teacher() as teacher,
        RunFolder.open(settings).lock("evolve"),
        pytest.raises(RunBusyError, match="already running evolve"),
    ):
        run_evolve(settings, teacher)


@pytest.fixture
def driven(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Drivers that a test started; none outlives it."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def drive(processes: list[subprocess.Popen[str]], settings: dict[str, Any], base_url: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).parents[1] / "driver.py"), json.dumps(settings), base_url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    processes.append(process)
    return process


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, None])
def test_kill_9_of_the_driver_pays_again_only_for_what_was_in_flight(
    local_ray: None, tmp_path: Path, seeds: Path, driven: list[subprocess.Popen[str]], workers: int | None
) -> None:
    settings = plain_settings(tmp_path / "killed", seeds, workers=workers)
    with scripted_teacher(Script(latency_seconds=0.5)) as teacher:
        process = drive(driven, settings, teacher.base_url)
        while teacher.counts()["answered"] < ROWS // 2:
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
        process.wait()
        process = drive(driven, settings, teacher.base_url)
        out, _ = process.communicate(timeout=400)
        assert process.returncode == 0
        counts = teacher.counts()
        assert counts["distinct"] == 2 * ROWS
        assert counts["answered_again"] <= 8
    with scripted_teacher() as teacher:
        unbroken, _ = run_evolve(settings_in(tmp_path / "unbroken", seeds), teacher)
    assert json.loads(out.splitlines()[-1]) == hashes(unbroken)


@pytest.mark.long
@pytest.mark.slow
def test_batches_make_the_same_rounds_and_outlive_the_driver(
    local_ray: None, tmp_path: Path, seeds: Path, driven: list[subprocess.Popen[str]]
) -> None:
    batch = {"batch": True, "batch_poll_seconds": 0.2, "max_concurrency": 64}
    settings = plain_settings(tmp_path / "killed", seeds, batch)
    with scripted_teacher(Script(batch_seconds=6)) as teacher:
        process = drive(driven, settings, teacher.base_url)
        while not teacher.counts()["answered"]:
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(3)  # the batches of the second call are on their way
        process.kill()
        process.wait()
        process = drive(driven, settings, teacher.base_url)
        out, _ = process.communicate(timeout=400)
        assert process.returncode == 0
        counts = teacher.counts()
        assert counts["requests"] == counts["distinct"] == 2 * ROWS, "nothing was asked twice, though the driver was killed"
        assert counts["most_in_flight"] == 0, "nothing was asked but by batches"
    with scripted_teacher() as teacher:
        unbroken, _ = run_evolve(settings_in(tmp_path / "unbroken", seeds), teacher)
    assert json.loads(out.splitlines()[-1]) == hashes(unbroken)


_ON_A_SMALL_DISK = """
mount -t tmpfs -o "size=$1k" none "$STORAGE" || exit
shift
"$@"
echo "ended with $?" >&2
mount -o remount,size=64m "$STORAGE"
exec "$@"
"""


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [40, 120])
def test_a_disk_that_fills_up_ends_in_a_sentence_and_loses_nothing_that_was_paid(
    local_ray: None, tmp_path: Path, seeds: Path, kilobytes: int
) -> None:
    """In namespaces of its own, Ray and all; what it is compared with runs on the tests' Ray."""
    storage = tmp_path / "small"
    storage.mkdir()
    with scripted_teacher(Script(latency_seconds=0.1)) as teacher:
        driver = [sys.executable, str(Path(__file__).parents[1] / "driver.py")]
        driver += [json.dumps(plain_settings(storage, seeds)), teacher.base_url]
        ended = subprocess.run(
            ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _ON_A_SMALL_DISK, "sh", str(kilobytes), *driver],
            env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | {"STORAGE": str(storage)},
            capture_output=True,
            text=True,
            timeout=400,
        )
        counts = teacher.counts()
    assert ended.returncode == 0, ended.stderr
    before, _, _ = ended.stderr.partition("ended with ")
    assert "ended with 1" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert re.search("^error: .*(disk is full|No space left).*$", before, re.MULTILINE), before
    assert counts["distinct"] == 2 * ROWS
    assert counts["answered_again"] <= 8, "what could not be written down was in flight"
    with scripted_teacher() as teacher:
        unbroken, _ = run_evolve(settings_in(tmp_path / "unbroken", seeds), teacher)
    assert json.loads(ended.stdout.splitlines()[-1]) == hashes(unbroken)


@pytest.mark.slow
def test_several_endpoints_teach_together_and_one_that_refuses_is_left_out(
    local_ray: None, tmp_path: Path, seeds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evolcoder.evolve.rounds.pipeline import evolve

    monkeypatch.setattr("evolcoder.evolve.rounds.pipeline.check_endpoint", lambda endpoint: None)  # it loses its right later
    said = io.StringIO()
    places = [{"base_url": "http://unused/v1"}] * 3
    settings = settings_in(tmp_path / "three", seeds, {"endpoints": places})
    script = Script(latency_seconds=0.05)
    with (
        scripted_teacher(script) as one,
        scripted_teacher(script) as two,
        scripted_teacher(Script(api_key="another")) as refusing,
    ):
        endpoints = [Endpoint(t.base_url, Script.model, timeout_seconds=20) for t in (one, two, refusing)]
        found = evolve(settings, RunFolder.open(settings), endpoints, Reporter("plain", said))
        shares = [teacher.counts()["answered"] for teacher in (one, two, refusing)]
    assert sum(shares) == 2 * ROWS
    assert min(shares[:2]) >= ROWS // 2
    assert shares[2] == 0
    assert said.getvalue().count("refuses the API key") == 1
    with scripted_teacher() as teacher:
        alone, _ = run_evolve(settings_in(tmp_path / "alone", seeds), teacher)
    assert hashes(found) == hashes(alone)


def test_a_sentence_stays_one_line_whatever_ray_data_appends() -> None:
    cause = RunFolderError("The disk is full.\nFailed to apply UDF transform after 1/1 attempts.")
    with pytest.raises(RunFolderError) as caught, plain_causes():
        raise ray.exceptions.RayTaskError("write", "traceback", cause)
    assert caught.value.message == "The disk is full."
