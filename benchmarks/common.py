"""What the benchmarks share: a command whose help is the module's docstring, results as rows of a markdown table, and peers in
virtual environments of their own.
"""

from __future__ import annotations

import argparse
import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path

from evolcoder.storage.cache import cache_folder
from evolcoder.storage.hashes import stable_hash

PEERS = Path(__file__).parent / "peers"
"""Programs that run a peer; each is given what it needs as arguments and imports nothing of ours."""


def parser(description: str | None) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def print_header(*columns: str) -> None:
    print_row(*columns)
    print(f"|{'---|' * len(columns)}", flush=True)


def print_row(*cells: object) -> None:
    """At once: the next row may take minutes."""
    print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)


def peer_interpreter(packages: Sequence[str]) -> Path:
    """The Python of a virtual environment with these packages, made at the first use."""
    place = cache_folder() / "benchmark-peers" / stable_hash(*packages)
    python = place / "bin/python"
    if not (place / "ready").exists():
        venv.create(place, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        (place / "ready").touch()
    return python
