"""Whether an output is right: the rules of evalplus 0.3.1, on decoded plain data. Pure.

Two of them are laxer than the tasks' own tests, and are kept so that scores compare: Mbpp/164 takes any output and Mbpp/295
takes 0. One is mended: HumanEval/32 (``find_zero``) can never pass in evalplus 0.3.1, because its branch skips the count
of passed tests.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evolcoder.evaluate.evalplus_adapter import NOT_NONE_TASKS, SET_TASKS, digit_distance, polynomial, surface_area

FLOAT_ATOL = 1e-6
FLOAT_RTOL = 1e-7


@dataclass(frozen=True, slots=True)
class Oracle:
    """Which rules apply to a task. ``atol`` is the data's own absolute tolerance; 0 asks for equality, but for floats."""

    dataset: str
    entry_point: str
    atol: float


def agrees(oracle: Oracle, arguments: Sequence[Any], got: Any, expected: Any) -> bool:
    """Whether an output counts as the expected one.

    Args:
        arguments: a trusted copy of what the function was called with.
        got: decoded plain data, or an Opaque.
    """
    if oracle.dataset == "humaneval" and oracle.entry_point == "find_zero":
        return _holds(lambda: abs(polynomial(*arguments, got)) <= oracle.atol)
    exact = _holds(lambda: got == expected)
    if oracle.dataset == "mbpp":
        exact = _mbpp_exact(oracle, arguments, got, expected, exact)
    if exact:
        return True
    atol = oracle.atol or (FLOAT_ATOL if is_floats(expected) else 0.0)
    if atol == 0 or type(got) is not type(expected):
        return False
    if isinstance(expected, list | tuple) and len(got) != len(expected):  # allclose would stretch a shorter one
        return False
    return _holds(lambda: np.allclose(got, expected, rtol=FLOAT_RTOL, atol=atol))


def is_floats(value: Any) -> bool:
    """A float, or a list or tuple of nothing but floats."""
    if isinstance(value, float):
        return True
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, float) for item in value)


def _mbpp_exact(oracle: Oracle, arguments: Sequence[Any], got: Any, expected: Any, exact: bool) -> bool:
    name = oracle.entry_point
    if name == "are_equivalent":
        return True
    if name == "sum_div":
        return exact or _holds(lambda: got == 0)
    if name == "surface_Area":
        return exact or _holds(lambda: abs(got - surface_area(*arguments)) <= oracle.atol)
    if name == "digit_distance_nums":
        return exact or _holds(lambda: got == digit_distance(*arguments))
    if name in SET_TASKS:
        return _holds(lambda: set(got) == set(expected))
    if name in NOT_NONE_TASKS:
        there = expected is not None
        return there == (got if isinstance(got, bool) else got is not None)
    return exact


def _holds(claim: Callable[[], Any]) -> bool:
    """Whether it is true; an output that the rule stumbles over is a wrong one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return bool(claim())
        except (TypeError, ValueError, ArithmeticError, RecursionError, LookupError, AttributeError):
            return False
