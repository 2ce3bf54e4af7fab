"""The program in a chat model's answer: what the asked function needs, out of however many blocks. Pure.

The block that defines the function last counts, unless the text before it offers it as another way; a stub that only repeats
the task is no definition. With it goes all else of its block but what would run or test the function, and from other blocks
what it uses. Where fences hold no such function, runs of lines that parse are looked for in the whole text, and then a
function's body that goes on from the prompt.
"""

from __future__ import annotations

import ast
import builtins
import html
import json
import re
import symtable
import textwrap
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from evolcoder.evaluate.fences import Block, fenced_blocks
from evolcoder.problems.rows import parse_quietly

_START = re.compile(
    r"(?P<indent>[ \t]*)(?:from|import|def|async|class|@|(?:if|for|while|try|with)\b.*:|[A-Za-z_]\w*[ \t]*[:=])"
)
"""What a run of code may begin with."""

_MARKS = re.compile(
    r"</?(?:code|python|py|pre|answer|solution|response|program)\b[^>\n]*>|\[/?(?:python|code|answer|solution)\]", re.IGNORECASE
)
_TOKENS = re.compile(
    r"(?:^|\n)[ \t]*(?:<\|[\w ]{1,30}\|>)+|(?:<\|[\w ]{1,30}\|>|<｜[^｜\n]{1,30}｜>|</s>|<eos>|<end_of_turn>)+[ \t]*(?=\n|$)"
)
"""Special tokens at the ends of a line, where an endpoint does not leave them out."""

_TYPOGRAPHY = str.maketrans({"\u00a0": " ", "\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\ufeff": ""})
_WAITS_OR_ENDS = frozenset({"input", "exit", "quit", "main"})
"""Calls after which a loaded module may not go on; ``main`` is unittest's."""

_OF_THE_CALLER = frozenset({"stdin", "argv"})
_BUILTINS = frozenset(dir(builtins))
_ANOTHER_WAY = re.compile(
    r"\bif you(?:'d| would)? (?:want|need|prefer|like)|\balternativ|\banother (?:way|approach|version|solution|option|method)"
    r"|\b(?:can|could|may|might) also\b|\b(?:other|second|different) (?:way|approach|version|solution|option|method)",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    r"\b(?:wrong|incorrect|mistakes?|bugs?|buggy|fix(?:es|ed)?|correct(?:ed|ion)|oops|sorry|apologi\w+|revised)\b",
    re.IGNORECASE,
)
_MOST_JSON = 20
_MOST_ATTEMPTS = 300
"""So many times a text is parsed at most in search of runs of code."""


_DEFINITION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True, slots=True)
class _Statement:
    """A statement of a module's top level and its source, with the comments before it."""

    node: ast.stmt
    source: str
    binds: frozenset[str]
    uses: frozenset[str]


def program_in(text: str, entry_point: str) -> str | None:
    """The program that defines the function, or a body that goes on from the prompt; None when the text holds neither."""
    text = _TOKENS.sub(lambda found: "\n" if found[0].startswith("\n") else "", text)
    blocks = fenced_blocks(text)
    fenced = [piece for block in blocks for piece in _pieces(block)]
    program = _assembled(fenced, entry_point)
    if program is not None:
        return program
    for part in _parts(text, blocks):
        program = _assembled([*fenced, *_runs(part)], entry_point)
        if program is not None:
            return program
    bodies = (_body(part) for part in (*(block.code for block in blocks), text))
    return next((body for body in bodies if body), None)


def code_in(text: str) -> str | None:
    """The code of a text that holds no function to look for: its Python fences that parse, or its first fence without a tag."""
    blocks = fenced_blocks(text)
    parsing = [block for block in blocks if _tree(block.code) or _tree(f"def body():\n{block.code}")]
    python = [block.code for block in parsing if block.is_python]
    untagged = [block.code for block in blocks if not block.language][:1]
    return "\n".join(python or untagged) or None


def _parts(text: str, blocks: Sequence[Block]) -> Iterator[str]:
    """The texts that may hold code outside of fences: strings of JSON, and all of it without marks and escapes."""
    for part in (text, *(block.code for block in blocks)):
        for opening in islice(re.finditer(r'[{"]', part), _MOST_JSON):
            with suppress(ValueError, RecursionError):
                held, _ = json.JSONDecoder(strict=False).raw_decode(part, opening.start())
                yield from _strings(held)
    yield _MARKS.sub("\n", text)
    yield html.unescape(_MARKS.sub("\n", text))


def _strings(held: Any) -> Iterator[str]:
    """The strings of several lines in decoded JSON."""
    if isinstance(held, str) and "\n" in held:
        yield held
    elif isinstance(held, list | dict):
        for value in held.values() if isinstance(held, dict) else held:
            yield from _strings(value)


def _assembled(pieces: Sequence[Block], entry_point: str) -> str | None:
    """The piece that counts of those that define the function, behind what it uses of the other pieces."""
    parsed = [list(_statements(piece.code)) for piece in pieces]
    chosen_piece = None
    for place, statements in enumerate(parsed):
        if any(_defines(one, entry_point) for one in statements):
            said = "" if chosen_piece is None else "\n".join(piece.before for piece in pieces[chosen_piece + 1 : place + 1])
            if not _ANOTHER_WAY.search(said) or _CORRECTION.search(said):
                chosen_piece = place
    if chosen_piece is None:
        return None
    main = list(_without_usage(parsed[chosen_piece], entry_point))
    others = [one for place, statements in enumerate(parsed) if place != chosen_piece for one in statements]
    known = {name for one in main for name in one.binds} | {entry_point} | _BUILTINS
    missing = {name for one in main for name in one.uses} - known
    taken: list[_Statement] = []
    while missing:
        name = missing.pop()
        known.add(name)
        binding = [
            one for one in reversed(others) if name in one.binds and not _calls(one.node, {entry_point} | _WAITS_OR_ENDS)
        ]
        helper = next((one for one in binding if not _is_stub(one.node)), next(iter(binding), None))
        if helper is not None:
            taken.append(helper)
            missing |= helper.uses - known
        else:  # it may come from anywhere
            taken.extend(one for one in others if "*" in one.binds)
    chosen = [*(one for one in others if one in taken), *main]
    first = [one for one in chosen if isinstance(one.node, ast.ImportFrom) and one.node.module == "__future__"]
    return "\n".join(one.source for one in [*first, *(one for one in chosen if one not in first)]) + "\n"


def _defines(statement: _Statement, name: str) -> bool:
    """Whether it defines the function, and not only a stub of it."""
    node = statement.node
    declared = isinstance(node, ast.AnnAssign) and node.value is None
    return name in statement.binds and not (declared or isinstance(node, ast.Import | ast.ImportFrom) or _is_stub(node))


def _is_stub(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and all(
        isinstance(line, ast.Pass | ast.Import | ast.ImportFrom)
        or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        or (isinstance(line, ast.Raise) and "NotImplementedError" in ast.dump(line))
        for line in node.body
    )


def _without_usage(statements: Sequence[_Statement], entry_point: str) -> Iterator[_Statement]:
    """All but what runs or tests the function where the module is loaded, which may fail, wait for input, or never end."""
    definitions = [one for one in statements if isinstance(one.node, _DEFINITION)]
    users, before = {entry_point}, 0
    while len(users) > before:  # those that use it through one another too
        before = len(users)
        users |= {name for one in definitions if one.uses & users for name in one.binds}
    gone: set[str] = set()
    for one in statements:
        node = one.node
        if isinstance(node, (*_DEFINITION, ast.Import, ast.ImportFrom)):
            gone -= one.binds
            yield one
            continue
        is_usage = (
            isinstance(node, ast.Assert)
            or (isinstance(node, ast.Expr) and not isinstance(node.value, ast.Call | ast.Constant))
            or (isinstance(node, ast.Expr) and entry_point in one.uses)
            or (isinstance(node, ast.AnnAssign) and node.value is None)
            or (isinstance(node, ast.If) and "__name__" in one.uses)
            or bool(one.uses & gone)
            or _calls(node, users | _WAITS_OR_ENDS)
        )
        if is_usage:
            gone |= one.binds
        else:
            yield one


def _calls(node: ast.AST, names: Set[str]) -> bool:
    """Whether running the statement calls one of the functions, or asks who started it; what it only defines is not run."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return False
    if isinstance(node, ast.Attribute) and node.attr in _OF_THE_CALLER:
        return True
    if isinstance(node, ast.Call):
        called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if called in names:
            return True
    return any(_calls(child, names) for child in ast.iter_child_nodes(node))


def _pieces(block: Block) -> Iterator[Block]:
    """The code of a block as it is, or mended, when it parses; else the runs of it that do."""
    tag, _, rest = block.code.partition("\n")
    code = rest if tag.strip().lower() in ("python", "python3", "py") else block.code
    prompted = ""
    if code.lstrip().startswith(">>> "):
        prompted = "\n".join(line[4:] for line in code.split("\n") if line.startswith((">>> ", "... ")))
    for mended in (code, textwrap.dedent(code), prompted, textwrap.dedent(html.unescape(code).translate(_TYPOGRAPHY))):
        if mended.strip() and _tree(mended):
            yield Block(block.language, mended, block.before)
            return
    for run in _runs(code):
        yield Block(block.language, run.code, f"{block.before}\n{run.before}")


def _runs(text: str) -> Iterator[Block]:
    """The longest runs of lines that parse, from each line on that may begin one."""
    lines = text.split("\n")
    place = attempts = last = 0
    while place < len(lines) and attempts < _MOST_ATTEMPTS:
        start = _START.match(lines[place])
        if start is None:
            place += 1
            continue
        end = len(lines)
        if indent := start["indent"]:
            end = next((n for n in range(place, end) if lines[n].strip() and not lines[n].startswith(indent)), end)
        while end > place and attempts < _MOST_ATTEMPTS:
            attempts += 1
            run = textwrap.dedent("\n".join(lines[place:end]))
            wrong = _error_line(run)
            if wrong is None:
                yield Block("", run, "\n".join(lines[last:place]))
                last = end
                break
            end = place + min(wrong, end - place) - 1
        place = max(end, place + 1)


def _body(code: str) -> str | None:
    """The code as the body of the function that the prompt begins, when it can be one."""
    body = code.strip("\n")
    lines = (body if body[:1] in " \t" else textwrap.indent(body, "    ")).split("\n")
    while lines and (wrong := _error_line("\n".join(["def body():", *lines]))) is not None:
        lines = lines[: max(0, min(wrong - 2, len(lines) - 1))]
    function = ast.parse("\n".join(["def body():", *lines])).body[0] if any(map(str.strip, lines)) else None
    return "\n".join(lines) + "\n" if function is not None and _returns(list(ast.iter_child_nodes(function))) else None


def _returns(body: Sequence[ast.AST]) -> bool:
    """Whether a function of this body has a result; those that it defines are others."""
    nodes = [node for node in body if not isinstance(node, (*_DEFINITION, ast.Lambda))]
    return any(isinstance(node, ast.Return | ast.Yield) or _returns(list(ast.iter_child_nodes(node))) for node in nodes)


def _statements(source: str) -> Iterator[_Statement]:
    tree = _tree(source)
    assert tree is not None
    lines = source.split("\n")
    begin = 0
    together: list[ast.stmt] = []
    for node, following in zip(tree.body, [*tree.body[1:], None], strict=False):  # a module of comments has no statement
        together.append(node)
        end = node.end_lineno or node.lineno
        beginnings = [one.lineno for one in [following, *getattr(following, "decorator_list", [])] if one is not None]
        if beginnings and min(beginnings) <= end:
            continue  # several statements on one line go together; the last of them stands for all
        binds = frozenset(name for one in together for name in _bound(one))
        text = "\n".join(lines[begin:end])
        try:
            uses = frozenset(_globals(symtable.symtable(text, "answer", "exec")))
        except (SyntaxError, RecursionError):  # what parses may still be no program, as a nonlocal name of no function
            uses = frozenset(inner.id for one in together for inner in ast.walk(one) if isinstance(inner, ast.Name))
        yield _Statement(node, text, binds, uses)
        begin, together = end, []


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    """The names of the module and of the builtins that a statement uses."""
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module"):
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _globals(inner)


def _bound(node: ast.AST) -> Iterator[str]:
    """The names that a statement of the top level gives a value to."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    if isinstance(node, ast.alias):
        yield (node.asname or node.name).partition(".")[0]
    if not isinstance(node, ast.Lambda):
        for child in ast.iter_child_nodes(node):
            yield from _bound(child)


def _tree(source: str) -> ast.Module | None:
    try:
        return parse_quietly(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _error_line(source: str) -> int | None:
    """Where the source stops being Python, counted from 1; None when all of it is."""
    try:
        parse_quietly(source)
    except SyntaxError as error:
        return max(1, error.lineno or 1)
    except (ValueError, RecursionError, MemoryError):
        return 1
    return None
