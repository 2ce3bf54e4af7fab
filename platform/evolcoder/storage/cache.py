"""Where this machine keeps what is made once for all runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``EVOLCODER_CACHE``, else ``~/.cache/evolcoder``."""
    return Path(os.environ.get("EVOLCODER_CACHE") or "~/.cache/evolcoder").expanduser()
