"""Wrong programs made from right ones: operators flipped, numbers off by one, other types, exceptions. The same every time.

Some mutants are still right; that is for those who judge them to find.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterator

_FLIPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.And: ast.Or, ast.Or: ast.And, ast.In: ast.NotIn,
}  # fmt: skip
_WRAPPERS = {
    "text": "str(result)",
    "list": "[result]",
    "none": "None",
    "float": "float(result) if isinstance(result, int) else result",
    "one more": "result + 1 if isinstance(result, (int, float)) else result[1:] if isinstance(result, (list, str)) else None",
    "reversed": "result[::-1] if isinstance(result, (list, tuple, str)) else result",
    "raises": "[][1]",
}


def mutants(program: str, entry_point: str, count: int, seed: str) -> list[str]:
    """Up to so many different wrong versions of a program, drawn by ``seed``."""
    generator = random.Random(seed)
    found = [*_flipped(program), *(_wrapped(program, entry_point, how) for how in _WRAPPERS.values())]
    return generator.sample(found, min(count, len(found)))


def hanging(program: str, entry_point: str) -> str:
    """The program with a function that never returns."""
    return f"{program}\n\ndef {entry_point}(*args):\n    while True:\n        pass\n"


def _wrapped(program: str, entry_point: str, how: str) -> str:
    return f"{program}\n\n_right = {entry_point}\ndef {entry_point}(*args):\n    result = _right(*args)\n    return {how}\n"


def _flipped(program: str) -> Iterator[str]:
    """One version for each operator and each number that stands in the program."""
    for place in range(sum(1 for _ in _places(ast.parse(program)))):
        tree = ast.parse(program)
        for index, change in enumerate(_places(tree)):
            if index == place:
                change()
                break
        yield ast.unparse(ast.fix_missing_locations(tree))


def _places(tree: ast.AST) -> Iterator[Callable[[], None]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in _FLIPS:
            yield lambda node=node: node.ops.__setitem__(0, _FLIPS[type(node.ops[0])]())  # type: ignore[misc]
        elif isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in _FLIPS:
            yield lambda node=node: setattr(node, "op", _FLIPS[type(node.op)]())  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            yield lambda node=node: setattr(node, "value", node.value + 1)  # type: ignore[misc]
