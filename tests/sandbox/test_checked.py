"""How many boxes are kept warm, and that none is handed out unchecked."""

from __future__ import annotations

import pytest

from evolcoder.errors import SandboxError
from evolcoder.sandbox import checked
from evolcoder.sandbox.box import BoxSettings, Sandbox
from evolcoder.sandbox.checked import WarmBoxes
from evolcoder.sandbox.isolation import ResourceLimits

FIRST, SECOND, THIRD = (BoxSettings(limits=ResourceLimits(threads=threads)) for threads in (30, 31, 32))


def test_the_boxes_of_the_settings_used_last_are_kept() -> None:
    with WarmBoxes(FIRST) as boxes:
        got = [boxes.get(settings) for settings in (FIRST, SECOND, FIRST, THIRD, FIRST, SECOND)]
        assert [box.settings for box in got] == [FIRST, SECOND, FIRST, THIRD, FIRST, SECOND]
        assert got[0] is got[2] is got[4]
        assert got[5] is not got[1], "it was the one unused for longest when a third was asked for"
        assert got[1]._process is None
        assert got[4]._process is not None
    assert [box._process for box in got] == [None] * len(got)


def test_a_box_that_does_not_hold_is_closed_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[Sandbox] = []

    def refuse(box: Sandbox) -> None:
        refused.append(box)
        raise SandboxError("it leaks")

    with WarmBoxes(FIRST) as boxes:
        monkeypatch.setattr(checked, "self_check", refuse)
        for _ in range(2):
            with pytest.raises(SandboxError, match="it leaks"):
                boxes.get(SECOND)
        assert len(refused) == 2
        assert [box._process for box in refused] == [None] * len(refused)
        assert boxes.get(FIRST)._process is not None
