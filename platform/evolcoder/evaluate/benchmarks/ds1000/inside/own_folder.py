"""A working folder of the process's own. In a box /tmp is one; without isolation the two sides must not meet in one either."""

from __future__ import annotations

import os
import tempfile


def enter_own_folder() -> None:
    if os.getcwd() != "/tmp" or os.listdir("."):
        os.chdir(tempfile.mkdtemp(prefix="evolcoder-ds1000-"))
