"""The two hashes behind ids and identities. A change here would make every finished run stale."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def stable_hash(*parts: str) -> str:
    """20 hex digits that depend on the parts and on where one ends and the next begins."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()[:20]


def fingerprint(value: Mapping[str, Any]) -> str:
    """A short hash of plain data that does not depend on the order of keys."""
    return stable_hash(json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")))
