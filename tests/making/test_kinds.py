"""How the stages of several models are put together; whole verbs are run in test_loop.py and test_cli.py."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from evolcoder.console import Reporter
from evolcoder.errors import ClusterError, EvolcoderError, IncompleteError, TrainingError
from evolcoder.making import kinds
from evolcoder.settings.run import RunSettings


def made_and_said(
    monkeypatch: pytest.MonkeyPatch, folder: Path, study: dict[str, Any], failing: dict[str, EvolcoderError]
) -> tuple[list[str], str, EvolcoderError | None]:
    """What was made, what was said, and how it ended, when what is made of some models fails."""
    made: list[str] = []

    def make(settings: Any, run: Any, entries: list[Any], reporter: Any) -> None:
        (model,) = {entry.model for entry in entries}
        if model in failing:
            raise failing[model]
        made.append(f"{entries[0].kind} {model}".strip())

    monkeypatch.setattr(kinds, "MAKERS", dict.fromkeys(kinds.MAKERS, make))
    monkeypatch.setattr(kinds, "_train_together", lambda *given: kinds._each_model(*given[:2], "train", *given[2:]))
    monkeypatch.setattr(kinds, "_score_together", lambda *given: kinds._each_model(*given[:2], "evaluate", *given[2:]))
    settings = RunSettings.model_validate({"name": "r", "storage": str(folder), "study": study})
    stream = io.StringIO()
    try:
        kinds.make(settings, Reporter("plain", stream), *kinds.MAKERS)
    except EvolcoderError as error:
        return made, stream.getvalue(), error
    return made, stream.getvalue(), None


def test_a_model_that_cannot_be_trained_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    diverged = TrainingError("The loss is nan at step 7.")
    made, said, error = made_and_said(monkeypatch, tmp_path, {"base_rounds": [0, 1]}, {"rounds-0": diverged})
    trained = ["train tuned", "train rounds-0-1"]
    scored = ["evaluate base", "evaluate tuned", "evaluate rounds-0-1"]
    assert made == ["round", "dataset", *trained, *scored, "report"]
    assert "rounds-0 is left out: The loss is nan at step 7." in said
    assert isinstance(error, IncompleteError)
    assert error.message == "The same command tries rounds-0 again; all else is made. The loss is nan at step 7."


def test_the_only_model_stops_the_run_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    diverged = TrainingError("The loss is nan at step 7.")
    made, said, error = made_and_said(monkeypatch, tmp_path, {}, {"tuned": diverged})
    assert (made, said, error) == (["round", "dataset"], "", diverged)


def test_without_a_study_a_score_that_is_not_complete_stops_the_run_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    left = IncompleteError("3 questions got no answer.")
    made, _, error = made_and_said(monkeypatch, tmp_path, {}, {"base": left})
    assert (made, error) == (["round", "dataset", "train tuned"], left)
    made, _, error = made_and_said(monkeypatch, tmp_path, {"base_rounds": [0]}, {"base": left})
    assert made[-3:] == ["evaluate tuned", "evaluate rounds-0", "report"]
    assert isinstance(error, IncompleteError)


def test_what_another_model_would_meet_too_stops_the_run_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = ClusterError("The Ray cluster does not answer.")
    made, _, error = made_and_said(monkeypatch, tmp_path, {"base_rounds": [0, 1]}, {"rounds-0": gone})
    assert (made, error) == (["round", "dataset", "train tuned"], gone)


def test_a_score_that_was_made_under_another_name_is_not_made_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a further round the model that was the run's own is one of the study's; its training and its score stay."""
    asked: list[str] = []

    def make(settings: Any, run: Any, entries: list[Any], reporter: Any) -> None:
        for entry in entries:
            if entry.kind != "report" and not entry.stage.state().done:
                asked.append(entry.label)
                entry.stage.begin().write_text("what", f"{entry.label} of {settings.evolve.rounds} rounds")
                entry.stage.publish(["what"])

    monkeypatch.setattr(kinds, "MAKERS", dict.fromkeys(kinds.MAKERS, make))
    monkeypatch.setattr(kinds, "_train_together", lambda *given: kinds._each_model(*given[:2], "train", *given[2:]))
    monkeypatch.setattr(kinds, "_score_together", lambda *given: kinds._each_model(*given[:2], "evaluate", *given[2:]))
    stream = io.StringIO()
    for last in (1, 2):
        asked.clear()
        plain = {
            "name": "r",
            "storage": str(tmp_path),
            "evolve": {"rounds": last},
            "study": {"base_rounds": [0, 1, 2][: last + 1]},
        }
        kinds.make(RunSettings.model_validate(plain), Reporter("plain", stream), *kinds.MAKERS)
    assert asked == ["round 2", "data set", "train on rounds 0-2", "evaluate tuned on humaneval"]
    assert "evaluate rounds-0-1 on humaneval: taken from evaluate tuned on humaneval" in stream.getvalue()
    scores = tmp_path / "r" / "evaluate"
    assert (scores / "rounds-0-1/humaneval/what").read_text() == "evaluate tuned on humaneval of 1 rounds"
    assert (scores / "tuned/humaneval/what").read_text() == "evaluate tuned on humaneval of 2 rounds"
