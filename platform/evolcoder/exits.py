"""How a process ends: expected failures become one sentence and an exit code. Defects keep their traceback."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from evolcoder.errors import EvolcoderError

INTERRUPTED_EXIT_CODE = 130
PROGRAM = "evolcoder"


def guarded(act: Callable[[], None], again: str) -> int:
    """Call ``act`` and return the exit code. ``again`` is the command that goes on after an interruption."""
    try:
        act()
    except EvolcoderError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write(f"\nStopped. What was finished is kept; go on with: {again}\n")
        return INTERRUPTED_EXIT_CODE
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        sys.stderr.write(f"error: The disk is full; make room, then go on with: {again}\n")
        return 1
    return 0


def program() -> str:
    """How this program is started from here: by name when it is on the PATH, else by the path it was started with."""
    started = Path(sys.argv[0])
    if started.name != PROGRAM or shutil.which(PROGRAM):
        return PROGRAM
    return os.path.relpath(started) if started.is_relative_to(Path.cwd()) else str(started)
