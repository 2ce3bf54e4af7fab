"""All that is taken from evalplus. Part of it is private: read in evalplus 0.3.1, whose verdicts are the ones to agree with.

Nothing is decided here: which oracle judges which task is said in ``benchmarks/evalplus_rules.py``.
"""

from __future__ import annotations

from typing import Any

from evalplus.eval._special_oracle import (
    MBPP_OUTPUT_NOT_NONE_TASKS,
    MBPP_OUTPUT_SET_EQ_TASKS,
    _digit_distance_nums,
    _poly,
    _surface_Area,
)

READ_IN = "0.3.1"
"""The version whose code was read."""

NOT_NONE_TASKS = frozenset(MBPP_OUTPUT_NOT_NONE_TASKS)
"""Functions of MBPP of whose output only counts whether it is None."""

SET_TASKS = frozenset(MBPP_OUTPUT_SET_EQ_TASKS)
"""Functions of MBPP whose outputs are compared as sets."""

polynomial = _poly
surface_area = _surface_Area
digit_distance = _digit_distance_nums


def restored_mbpp_inputs(task_id: str, stored: list[Any]) -> list[Any]:
    """Argument lists with the tuples, sets and complex numbers that JSON cannot hold."""
    from evalplus.data.mbpp import mbpp_deserialize_inputs  # loads packages that only its downloads need

    inputs: list[Any] = mbpp_deserialize_inputs(task_id, stored)
    return inputs


def sanitized(answer: str, entry_point: str) -> str:
    """The code that evalplus's sanitizer finds in an answer; empty when it finds none."""
    from evalplus.sanitize import sanitize  # takes over a second to import

    try:
        return str(sanitize(answer, entry_point or None))
    except Exception:  # noqa: BLE001 - it raises many kinds on odd text, and then finds no code
        return ""
