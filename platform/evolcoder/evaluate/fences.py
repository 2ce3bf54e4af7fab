"""The fenced blocks of an answer, as chat models write them. Pure; no text makes it fail.

Wider than Markdown: a fence may stand in a quotation or a list, open behind text, close right behind code, or stay open. A
fence inside a string that goes over several lines, as in a docstring, ends nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PREFIX = r"(?P<prefix>[ \t]*(?:>[ \t]?)*(?:(?:[-*+]|\d{1,3}[.)])[ \t]+)?[ \t]*)"
_OPENING = re.compile(_PREFIX + r"(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`]*)$")
_OPENING_BEHIND_TEXT = re.compile(r"(?P<prefix>.*[^`\s])[ \t]*(?P<fence>`{3,})[ \t]*(?P<info>[\w+.-]*)[ \t]*$")
_ON_ONE_LINE = re.compile(r"[ \t]*(`{3,})(?:python3?|py)?[ \t]*(?P<code>[^`].*?)\1[ \t]*$", re.IGNORECASE)
_CODE_BEHIND_FENCE = re.compile(r"(?:py(?:thon)?3?[ \t]+)?(?P<code>(?:from|import|def|class|async)[ \t].+|@\w.*)")
_STRINGS_AND_COMMENTS = re.compile(
    r"""\#[^\n]*|(?P<quotes>\"{3}|'{3})(?:\\.|(?!(?P=quotes)).)*(?P<end>(?P=quotes)|\Z)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?""",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """What one fence holds. ``language`` is the first word behind the opening fence, in lower case; ``before`` is the text
    since the block before.
    """

    language: str
    code: str
    before: str = ""

    @property
    def is_python(self) -> bool:
        return re.match(r"i?py(?:thon|con)?(?:[\d. -]|$)", self.language) is not None


def fenced_blocks(text: str) -> list[Block]:
    """The blocks in the order of the text."""
    lines = text.split("\n")
    place = 0
    blocks: list[Block] = []
    before: list[str] = []
    while place < len(lines):
        line = lines[place]
        place += 1
        before.append(line)
        if "```" not in line and "~~~" not in line:  # the patterns would take long over a line of nothing but blanks
            continue
        if found := _ON_ONE_LINE.match(line):
            blocks.append(Block("", found["code"] + "\n", "\n".join(before)))
            before = []
            continue
        opening = _OPENING.match(line)
        if opening is None and len(re.findall("`{3,}", line)) % 2:
            opening = _OPENING_BEHIND_TEXT.match(line)
        if opening is not None:
            code, place = _inside(lines, place, opening["fence"])
            words = re.findall(r"[\w+#.-]+", opening["info"])
            language = words[0].lower().lstrip(".") if words else ""
            if begun := _CODE_BEHIND_FENCE.match(opening["info"]):
                code = [begun["code"], *code]
            blocks.append(Block(language, _unquoted(code, opening["prefix"]), "\n".join(before)))
            before = []
    return blocks


def _inside(lines: list[str], start: int, fence: str) -> tuple[list[str], int]:
    """The lines of the block that begins at ``start``, and where the text goes on."""
    closing = re.compile(rf"[ \t>]*{fence[0]}{{{len(fence)},}}[ \t]*$")
    first: tuple[list[str], int] | None = None
    for place in range(start, len(lines)):
        line = lines[place]
        if "```" not in line and "~~~" not in line:
            continue
        if closing.match(line):
            found = lines[start:place], place + 1
        elif (behind := line.rstrip(" \t")).endswith(fence) and fence[0] not in behind.rstrip(fence[0]):
            found = [*lines[start:place], behind.rstrip(fence[0])], place + 1  # right behind code
        elif (another := _OPENING.match(line)) and another["info"]:
            found = lines[start:place], place  # the closing fence was forgotten
        else:
            continue
        tokens = _STRINGS_AND_COMMENTS.finditer("\n".join(found[0]))
        if not any(token["quotes"] and not token["end"] for token in tokens):
            return found
        first = first or found  # it is inside a string, which may have no end: then this fence was the block's
    return first or (lines[start:], len(lines))


def _unquoted(lines: list[str], prefix: str) -> str:
    """The lines without what stands before the fence on its own line: a quotation's marks or a list's indentation."""
    if ">" in prefix and not prefix.strip(" \t>"):
        lines = [re.sub(r"^[ \t]*(?:>[ \t]?)+", "", line) for line in lines]
    elif prefix and not prefix.strip(" \t0123456789.)*+-"):
        lines = [re.sub(rf"^[ \t]{{1,{len(prefix)}}}", "", line) for line in lines]
    return "\n".join(lines) + "\n"
