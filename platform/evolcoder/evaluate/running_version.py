"""Which rules a program was run by, and whether a program would fare otherwise under today's. Pure; it runs no program.

Version 2 runs a program as a Python of its own would (docs/evaluate.md, "What a program finds"). Before, the evaluator's
``from __future__ import annotations`` kept a program's annotations from being evaluated, and its modules, arguments and
frames were in sight.
"""

from __future__ import annotations

import ast
import builtins
import collections.abc
import typing
from collections.abc import Iterator
from typing import Any

from evolcoder.problems.rows import parse_quietly

RUNNING_VERSION = 2
"""Part of a score's identity: raised when a verdict could come out otherwise."""

_SEES_ITS_INTERPRETER = frozenset({
    "__annotations__", "__file__", "__import__", "__loader__", "__main__", "__package__", "__spec__", "RecursionError",
    "argparse", "atexit", "codec", "compile", "confine", "copyright", "credits", "doctest", "eval", "exec", "exit", "gc",
    "get_type_hints", "getopt", "globals", "help", "importlib", "inspect", "landlock", "license", "linecache",
    "multiprocessing", "open", "optparse", "os", "pathlib", "pkgutil", "pydoc", "quit", "runpy", "scratch", "shutil", "signal",
    "site", "sys", "tempfile", "traceback", "unittest", "vars",
})  # fmt: skip
_TYPES = {name: value for name, value in vars(builtins).items() if isinstance(value, type)}
_TYPING = {"typing": typing, "collections.abc": collections.abc}
_HARMLESS = (
    ast.Expression, ast.Name, ast.Load, ast.Constant, ast.Subscript, ast.Tuple, ast.List, ast.BinOp, ast.BitOr, ast.Attribute,
)  # fmt: skip


def run_alike(program: str, detail: str) -> bool:
    """Whether a program that was judged by the rules before version 2 would surely get the same verdict now.

    Args:
        detail: what the verdict says. A program may now recurse some calls deeper.
    """
    try:
        tree = parse_quietly(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return not program.startswith("\ufeff")  # it does not run, then as now
    return "recursion" not in detail.lower() and not _names(tree) & _SEES_ITS_INTERPRETER and _annotations_evaluate(tree)


def _names(tree: ast.AST) -> set[str]:
    """All that a program names."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                names.add(name)
            case ast.Import(names=aliases):
                names |= {part for alias in aliases for part in alias.name.split(".")}
            case ast.ImportFrom(module=module, names=aliases):
                names |= {*(module or "").split("."), *(alias.name for alias in aliases)}
    return names


def _annotations_evaluate(tree: ast.Module) -> bool:
    """Whether each annotation is made of builtin types and names of typing that are there by then, and can be evaluated."""
    known = dict(_imported_types(tree))
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    bound |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    given = (getattr(node, place, None) for node in ast.walk(tree) for place in ("annotation", "returns"))
    for annotation in (one for one in given if one is not None):
        names = {name: value for name, (value, line) in known.items() if line < annotation.lineno and name not in bound}
        types = {name: value for name, value in _TYPES.items() if name not in bound}
        expression = ast.Expression(annotation)
        if not all(isinstance(node, _HARMLESS) for node in ast.walk(expression)):
            return False
        try:
            eval(compile(expression, "annotation", "eval", dont_inherit=True), {"__builtins__": {}}, {**types, **names})
        except Exception:  # noqa: BLE001 - whatever it is, the program would now raise it
            return False
    return True


def _imported_types(tree: ast.Module) -> Iterator[tuple[str, tuple[Any, int]]]:
    """The names that a program imports from typing, with what they are and the line from which on they are known."""
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                if alias.name == "typing":
                    yield alias.asname or alias.name, (typing, statement.lineno)
        elif isinstance(statement, ast.ImportFrom) and statement.module in _TYPING and statement.level == 0:
            module = _TYPING[statement.module]
            for alias in statement.names:
                for name in module.__all__ if alias.name == "*" else [alias.name]:
                    if hasattr(module, name):
                        yield (alias.asname or name), (getattr(module, name), statement.lineno)
