"""Copies of a function problem in every disguise that the decontamination promises to see through."""

from __future__ import annotations

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Callable, Mapping
from typing import Any

from evolcoder.evolve.copies.canonical import DIGIT_WORDS, docstrings

Plant = tuple[str, str]
"""An instruction and a response."""

PLAIN = "Complete the function."
_COMMENTS = ("prepare what is needed", "now the next step", "this is where it happens", "and on we go")


def program(row: Mapping[str, Any]) -> str:
    return str(row["prompt"] + row["canonical_solution"])


def verbatim(row: Mapping[str, Any]) -> Plant:
    return PLAIN, f"Here it is:\n\n```python\n{program(row)}```\n"


def prompt_alone(row: Mapping[str, Any]) -> Plant:
    return f"Please complete this:\n```python\n{row['prompt']}```", "I would rather not."


def reformatted(row: Mapping[str, Any]) -> Plant:
    """As another formatter writes it: indents of two, other quotes, other line breaks, in the docstring too."""
    tree = ast.parse(program(row))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node):
            text = " ".join((ast.get_docstring(node) or "").split())
            node.body[0] = ast.Expr(ast.Constant("\n    ".join(textwrap.wrap(text, 50))))
    code = ast.unparse(ast.fix_missing_locations(tree))
    code = re.sub(r"^( +)", lambda match: " " * (len(match.group(1)) // 2), code, flags=re.MULTILINE)
    return PLAIN, code.replace(" = ", "=").replace("==", " == ").replace("  ==  ", " == ")


def renamed(row: Mapping[str, Any]) -> Plant:
    """Every name of its own is another, where the docstring speaks of it too."""
    return PLAIN, _renamed(program(row))


def reworded(row: Mapping[str, Any]) -> Plant:
    """Another docstring, no comment as it was, and new ones between the lines."""
    return PLAIN, _reworded(program(row))


def translated(row: Mapping[str, Any]) -> Plant:
    """Numbers in words where they were digits in the prose, and other literals in the code."""
    code = program(row)
    for text in docstrings(code):
        code = code.replace(text, re.sub(r"\b\d\b", lambda match: DIGIT_WORDS[int(match.group())], text))
    body = row["canonical_solution"]
    return PLAIN, code.replace(body, re.sub(r"(?<![\w.\"'])\d+(?![\w.\"'])", lambda m: str(int(m.group()) + 1), body))


def split(row: Mapping[str, Any]) -> Plant:
    """The first half of the prompt in the instruction, and the rest in the response."""
    code = program(row)
    words = [match.start() for match in re.finditer(r"\s\S", row["prompt"])]
    cut = words[len(words) // 2]
    return code[:cut], code[cut:]


def head_and_body(row: Mapping[str, Any]) -> Plant:
    """The prompt in the instruction, the bare body in the response."""
    return str(row["prompt"]), f"```python\n{row['canonical_solution']}```"


def renamed_and_reformatted(row: Mapping[str, Any]) -> Plant:
    instruction, code = reformatted(row)
    return instruction, _renamed(code)


def renamed_and_reworded(row: Mapping[str, Any]) -> Plant:
    """Nothing is left but what the code does."""
    return PLAIN, _reworded(_renamed(program(row)))


def renamed_reworded_and_edited(row: Mapping[str, Any]) -> Plant:
    """The same, with a line of another program in the middle."""
    lines = _reworded(_renamed(program(row))).split("\n")
    inside = [
        number for number, line in enumerate(lines) if line.startswith("    ") and not line.strip().startswith(("#", '"'))
    ]
    middle = inside[len(inside) // 2]
    indent = lines[middle][: len(lines[middle]) - len(lines[middle].lstrip())]
    return PLAIN, "\n".join([*lines[:middle], f"{indent}print('step')", *lines[middle:]])


def reworded_and_split(row: Mapping[str, Any]) -> Plant:
    code = _reworded(program(row))
    cut = code.index("#")
    return code[:cut], code[cut:]


def solution_alone(row: Mapping[str, Any]) -> Plant:
    """Nothing of the prompt but the function's head."""
    head = row["prompt"][: row["prompt"].rindex("def ")]
    signature = row["prompt"][len(head) :].split("\n")[0]
    return PLAIN, f"{signature}\n{row['canonical_solution']}"


def tests_alone(row: Mapping[str, Any]) -> Plant:
    """The tests with the function's name in the place of the candidate's."""
    return "Write tests.", str(row["test"]).replace("candidate", row["entry_point"])


KINDS: dict[str, Callable[[Mapping[str, Any]], Plant]] = {
    kind.__name__: kind
    for kind in (
        verbatim,
        prompt_alone,
        reformatted,
        renamed,
        reworded,
        translated,
        split,
        head_and_body,
        renamed_and_reformatted,
        renamed_and_reworded,
        renamed_reworded_and_edited,
        reworded_and_split,
        solution_alone,
        tests_alone,
    )
}


def _own_names(code: str) -> list[str]:
    names: dict[str, None] = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef):
            names.setdefault(node.name)
            names |= dict.fromkeys(argument.arg for argument in node.args.args)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.setdefault(node.id)
    return list(names)


def _renamed(code: str) -> str:
    new = {name: f"thing_{number}" for number, name in enumerate(_own_names(code))}
    spoken = re.compile(r"\b(?:" + "|".join(re.escape(name) for name in new if len(name) > 1) + r")\b")
    tokens = []
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        text = token.string
        if token.type == tokenize.NAME:
            text = new.get(text, text)
        elif token.type == tokenize.STRING and text.startswith(('"""', "'''")):
            text = spoken.sub(lambda match: new[match.group()], text)
        tokens.append((token.type, text))
    return tokenize.untokenize(tokens)


def _reworded(code: str) -> str:
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node):
            node.body[0] = ast.Expr(ast.Constant("Do the job that the caller has in mind and hand back what comes out."))
    lines = []
    for number, line in enumerate(ast.unparse(ast.fix_missing_locations(tree)).splitlines()):
        lines.append(line)
        if line.strip() and not line.startswith(("from", "import")):
            lines.append(f"{' ' * (len(line) - len(line.lstrip()))}# {_COMMENTS[number % len(_COMMENTS)]}")
    return "\n".join(lines)
