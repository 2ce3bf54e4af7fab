"""How far each stage of a run is, as the run folder says: for those who look and make nothing. Files are not verified."""

from __future__ import annotations

from dataclasses import dataclass

from evolcoder.stages.listing import RunStage
from evolcoder.storage.stage import Manifest


@dataclass(frozen=True, slots=True)
class StageStatus:
    """Whether a stage is there. ``changed`` names the settings, or what it was made from, that are others now."""

    manifest: Manifest | None
    changed: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    """Of the decisions of Evol Stop, which grow: the models whose scores the next one needs."""

    @property
    def done(self) -> bool:
        return self.manifest is not None and not self.changed and not self.waits_for

    @property
    def text(self) -> str:
        if self.changed:
            return f"to do again: {', '.join(self.changed)} changed since"
        if self.waits_for:
            return f"goes on after {', '.join(self.waits_for)}"
        return "to do" if self.manifest is None else "done"

    @property
    def count(self) -> int | None:
        """Of its rows or tasks."""
        if self.manifest is None:
            return None
        return self.manifest.summary.get("tasks") or self.manifest.summary.get("rows") or self.manifest.rows or None


def stage_status(entry: RunStage) -> StageStatus:
    manifest = entry.stage.manifest()
    if manifest is None:
        return StageStatus(None)
    changed = entry.stage.changed_settings(manifest) or entry.stage.changed_inputs(manifest)
    new = [name for name in entry.stage.inputs if name not in manifest.inputs] if entry.kind == "evol_stop" else []
    return StageStatus(manifest, tuple(name for name in changed if name not in new), tuple(new))
