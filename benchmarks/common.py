"""What the benchmarks share: a command whose help is the module's docstring, and results as rows of a markdown table."""

from __future__ import annotations

import argparse


def parser(description: str | None) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def print_header(*columns: str) -> None:
    print_row(*columns)
    print(f"|{'---|' * len(columns)}", flush=True)


def print_row(*cells: object) -> None:
    """At once: the next row may take minutes."""
    print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)
