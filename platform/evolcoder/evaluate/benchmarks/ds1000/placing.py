"""From the code in an answer to what is put in the place of the solution. Pure; no text makes it fail.

DS-1000 wants the code that goes on after the given code. Chat models like to repeat what was given, and a copy of the
inputs would overwrite the hidden ones. So given lines that the code begins with, word for word, are dropped; where the
solution is the body of a given function, the body is taken out of a repeated function, and indented when it is not.
"""

from __future__ import annotations

import re
import textwrap

_DEFINITION = re.compile(r"^def\s+(\w+)\s*\(", re.MULTILINE)
_SCAFFOLD = ("<code>", "BEGIN SOLUTION", "### BEGIN SOLUTION", "# SOLUTION START")
_HINT = re.compile(r"[\w, .\[\]'\"()]+ = \.\.\. # put solution in")


def solution_of(prompt: str, code: str) -> str:
    """What goes in the place of the solution."""
    rest = _without_given(prompt, code.split("\n"))
    function = _open_function(prompt)
    return "\n".join(rest) if function is None else _body(function, rest)


def _without_given(prompt: str, lines: list[str]) -> list[str]:
    """The lines after those that repeat the prompt's code from its first line on."""
    given = [line.rstrip() for line in _given_code(prompt)]
    if not given:
        return lines
    kept, place = list(lines), 0
    while kept:
        line = kept[0].rstrip()
        if place < len(given) and line == given[place]:
            place += 1
        elif line.strip() not in _SCAFFOLD and not (place and (not line or _HINT.match(line))):
            break
        kept.pop(0)
    return kept if place == len(given) else lines


def _given_code(prompt: str) -> list[str]:
    """The lines of code that a prompt gives, without blank ones; Matplotlib's prompts are code all over."""
    _, found, after = prompt.rpartition("A:\n")
    block = after if found else prompt
    lines = block.split("BEGIN SOLUTION")[0].split("</code>")[0].split("\n")
    return [line for line in lines if line.strip() and line.strip() not in (*_SCAFFOLD, "###")]


def _open_function(prompt: str) -> str | None:
    """The name of the function whose body is asked for."""
    if not prompt.endswith("    ### BEGIN SOLUTION"):
        return None
    names: list[str] = _DEFINITION.findall(prompt)
    return names[-1] if names else None


def _body(function: str, lines: list[str]) -> str:
    for place, line in enumerate(lines):
        found = _DEFINITION.match(line)
        if found and found.group(1) == function:
            imports = [kept for kept in lines[:place] if re.match(r"(import|from)\s", kept)]
            body = _indented_part(_after_signature(lines[place:]))
            return "\n".join([*(f"    {kept}" for kept in imports), *body])
    first = next((line for line in lines if line.strip() and not line.lstrip().startswith("#")), "")
    return "\n".join(lines) if first[:1] in (" ", "\t", "") else textwrap.indent("\n".join(lines), "    ")


def _after_signature(lines: list[str]) -> list[str]:
    end = next((place for place, line in enumerate(lines) if line.rstrip().endswith(":")), 0)
    return lines[end + 1 :]


def _indented_part(lines: list[str]) -> list[str]:
    end = next((place for place, line in enumerate(lines) if line.strip() and line[0] not in " \t"), len(lines))
    return lines[:end]
