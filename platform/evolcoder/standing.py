"""How far each stage of a run is, as the run folder says: for those who look and make nothing. Files are not verified."""

from __future__ import annotations

from dataclasses import dataclass

from evolcoder.stages import RunStage
from evolcoder.storage.stage import Manifest


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a stage is there. ``changed`` names the settings, or what it was made from, that are others now."""

    manifest: Manifest | None
    changed: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        return self.manifest is not None and not self.changed

    @property
    def text(self) -> str:
        if self.changed:
            return f"to do again: {', '.join(self.changed)} changed since"
        return "to do" if self.manifest is None else "done"

    @property
    def count(self) -> int | None:
        """Of its rows or tasks."""
        if self.manifest is None:
            return None
        return self.manifest.summary.get("tasks") or self.manifest.summary.get("rows") or self.manifest.rows or None


def standing(entry: RunStage) -> Standing:
    manifest = entry.stage.manifest()
    if manifest is None:
        return Standing(None)
    changed = entry.stage.changed_settings(manifest) or entry.stage.changed_inputs(manifest)
    return Standing(manifest, tuple(changed))
