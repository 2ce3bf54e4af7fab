"""Whole rounds in the driver's own process, without Ray, against the scripted teacher."""

from __future__ import annotations

import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from tests.evolve.rounds.test_pipeline import (
    CONTENT_FAULTS,
    PRICES,
    ROWS,
    TRANSPORT_FAULTS,
    drive,
    driven,
    hashes,
    plain_settings,
    run_evolve,
    seeds,
    settings_in,
)

from evolcoder.endpoint.scripted.server import Script, ScriptedTeacher, scripted_teacher
from evolcoder.errors import BudgetError, EndpointError, IncompleteError
from evolcoder.evolve.rounds import pipeline
from evolcoder.evolve.rounds.in_driver import MOST_ROWS, InDriver
from evolcoder.run.folder import RunFolder

__all__ = ["driven", "seeds"]  # fixtures


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever other tests started, these need no Ray."""
    monkeypatch.setattr(pipeline, "_place_for", lambda settings, rows: nullcontext(InDriver()))


def test_a_teacher_with_faults_makes_whole_rounds_and_a_second_run_sends_nothing(
    here: None, tmp_path: Path, seeds: Path
) -> None:
    faults = CONTENT_FAULTS | TRANSPORT_FAULTS
    with scripted_teacher(Script(faults=faults, retry_after_seconds=0.02, latency_seconds=0.02)) as teacher:
        settings = settings_in(tmp_path, seeds, rounds=2)
        first, shown = run_evolve(settings, teacher)
        counts = teacher.counts()
        assert counts["answered_again"] == counts["early"] == 0
        assert 1 < counts["most_in_flight"] <= 8
        assert f"{ROWS}/{ROWS}" in shown
        again, said = run_evolve(settings, teacher)
        assert teacher.counts()["requests"] == counts["requests"]
        assert "round 01 is done" in said
        assert hashes(again) == hashes(first)
    assert all(0.0 < manifest.summary["seconds"] < 300.0 for manifest in first[1:])
    assert not RunFolder.open(settings).root.exists("attempts")


def test_failed_rows_leave_the_round_open_and_only_they_are_asked_again(here: None, tmp_path: Path, seeds: Path) -> None:
    settings = settings_in(tmp_path, seeds)
    with scripted_teacher(Script(faults={"error_500": 0.2})) as teacher:
        with pytest.raises(IncompleteError, match="server_error: 500"):
            run_evolve(settings, teacher, attempts=1)
        assert not RunFolder.open(settings).round(1).exists("manifest.json")
        manifests, _ = run_evolve(settings, teacher)
        assert teacher.counts()["answered_again"] == 0
        assert teacher.counts()["answered"] == 2 * ROWS
    assert manifests[1].summary["kept"] == ROWS


def test_a_budget_is_never_exceeded_and_raising_it_goes_on(here: None, tmp_path: Path, seeds: Path) -> None:
    with scripted_teacher(Script(latency_seconds=0.02)) as teacher:
        with pytest.raises(BudgetError, match=rf"of {ROWS} rows of round 01 are there"):
            run_evolve(settings_in(tmp_path, seeds, PRICES | {"budget_usd": 1.0}), teacher)
        answered = teacher.counts()["answered"]
        manifests, _ = run_evolve(settings_in(tmp_path, seeds, PRICES | {"budget_usd": 100.0}), teacher)
        assert 0 < answered < teacher.counts()["answered"] == 2 * ROWS
        assert teacher.counts()["answered_again"] == 0
    assert manifests[1].summary["kept"] == ROWS


def test_a_teacher_that_goes_away_stops_the_run_with_a_sentence(here: None, tmp_path: Path, seeds: Path) -> None:
    class Gone(ScriptedTeacher):
        """Refuses the key of every request after the first ten."""

        def authorised(self, request: Any) -> bool:
            return request.path.endswith("/models") or sum(self._asked.values()) < 10

    with scripted_teacher(Script(), kind=Gone) as teacher, pytest.raises(EndpointError, match="refuses the API key"):
        run_evolve(settings_in(tmp_path, seeds), teacher)
    with scripted_teacher(Script()) as teacher:
        run_evolve(settings_in(tmp_path, seeds), teacher)
        assert teacher.counts()["answered"] == 2 * ROWS - 10


@pytest.mark.parametrize(
    ("rows", "workers", "address", "alone"),
    [
        (MOST_ROWS, None, None, True),
        (MOST_ROWS, None, "local", True),
        (MOST_ROWS + 1, None, None, False),
        (1, 1, None, False),
        (1, None, "ray://head:10001", False),
    ],
)
def test_ray_is_started_for_many_rows_for_workers_and_on_clusters(
    rows: int, workers: int | None, address: str | None, alone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asked(Exception):  # noqa: N818 - not an error
        pass

    def ray_session() -> None:
        raise Asked

    monkeypatch.delitem(pipeline.sys.modules, "ray", raising=False)
    monkeypatch.setattr(pipeline, "ray_session", ray_session)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address is not None:
        monkeypatch.setenv("RAY_ADDRESS", address)
    settings = settings_in(tmp_path, tmp_path, workers=workers)
    with nullcontext() if alone else pytest.raises(Asked), pipeline._place_for(settings, rows) as place:
        assert isinstance(place, InDriver)


@pytest.mark.slow
def test_a_run_of_its_own_starts_no_ray_and_makes_what_workers_make(
    local_ray: None, tmp_path: Path, seeds: Path, driven: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for workers in (2, None):
        with scripted_teacher(Script(faults=CONTENT_FAULTS)) as teacher:
            settings = plain_settings(tmp_path / f"by {workers}", seeds, rounds=2, workers=workers)
            if workers is None:  # a Ray that is started all the same would fail to
                settings["storage"] = str(tmp_path / "alone")
                monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(pipeline.__file__).parents[3]}")
                (tmp_path / "ray").mkdir()
                (tmp_path / "ray/__init__.py").write_text("raise AssertionError('Ray is imported')")
            process = drive(driven, settings, teacher.base_url)
            out, _ = process.communicate(timeout=200)
            assert process.returncode == 0
            made.append(out.splitlines()[-1])
    assert made[0] == made[1]
