"""From the code in an answer to what is put in the place of the solution. Pure; no text makes it fail.

DS-1000 wants the code that goes on after the given code. Chat models like to repeat what was given, and a copy of the
inputs would overwrite the hidden ones. So given lines that the code begins with, word for word, are dropped; where the
solution is the body of a given function, the body is taken out of a repeated function, and indented when it is not.
"""

from __future__ import annotations

import re
import textwrap
from itertools import takewhile

_DEFINITION = re.compile(r"^def\s+(\w+)\s*\(", re.MULTILINE)
_SCAFFOLD = ("<code>", "BEGIN SOLUTION", "### BEGIN SOLUTION", "# SOLUTION START")
_HINT = re.compile(r"[\w, .\[\]'\"()]+ = \.\.\. # put solution in")


def solution_of(prompt: str, code: str) -> str:
    """What goes in the place of the solution."""
    lines = _without_given(prompt, code.split("\n"))
    if not prompt.endswith("    ### BEGIN SOLUTION"):
        return "\n".join(lines)
    function = _DEFINITION.findall(prompt)[-1:]  # the one whose body is asked for
    return _body(function[0], lines) if function else "\n".join(lines)


def _without_given(prompt: str, lines: list[str]) -> list[str]:
    """The lines after those that repeat the prompt's code from its first line on, blank ones apart."""
    _, found, after = prompt.rpartition("A:\n")  # Matplotlib's prompts are code all over
    block = (after if found else prompt).split("BEGIN SOLUTION")[0].split("</code>")[0]
    given = [line.rstrip() for line in block.split("\n") if line.strip() and line.strip() not in (*_SCAFFOLD, "###")]
    place = 0
    for start, line in enumerate(lines):
        if place < len(given) and line.rstrip() == given[place]:
            place += 1
        elif line.strip() not in _SCAFFOLD and not (place and (not line.rstrip() or _HINT.match(line))):
            return lines[start:] if given and place == len(given) else lines
    return [] if given and place == len(given) else lines


def _body(function: str, lines: list[str]) -> str:
    for place, line in enumerate(lines):
        found = _DEFINITION.match(line)
        if found and found.group(1) == function:
            imports = [f"    {kept}" for kept in lines[:place] if re.match(r"(import|from)\s", kept)]
            signature_end = next((end for end in range(place, len(lines)) if lines[end].rstrip().endswith(":")), place)
            body = list(takewhile(lambda kept: not kept.strip() or kept[0] in " \t", lines[signature_end + 1 :]))
            return "\n".join([*imports, *body])
    first = next((line for line in lines if line.strip() and not line.lstrip().startswith("#")), "")
    return "\n".join(lines) if first[:1] in (" ", "\t", "") else textwrap.indent("\n".join(lines), "    ")
