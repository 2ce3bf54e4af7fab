"""What is looked for when someone searches: the words of a text, and the language that a row is about. Pure.

``pages/search.js`` takes words out of a query in the same way; a test in the browser compares the two.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import chain

LONGEST_WORD = 32
"""Characters; of a longer word the beginning counts."""

_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+")

UNKNOWN_LANGUAGE = "not said"
_LANGUAGES = {
    "python": "Python",
    "py": "Python",
    "python3": "Python",
    "javascript": "JavaScript",
    "js": "JavaScript",
    "jsx": "JavaScript",
    "typescript": "TypeScript",
    "ts": "TypeScript",
    "java": "Java",
    "c": "C",
    "c++": "C++",
    "cpp": "C++",
    "c#": "C#",
    "csharp": "C#",
    "go": "Go",
    "golang": "Go",
    "rust": "Rust",
    "ruby": "Ruby",
    "php": "PHP",
    "swift": "Swift",
    "kotlin": "Kotlin",
    "scala": "Scala",
    "r": "R",
    "sql": "SQL",
    "mysql": "SQL",
    "html": "HTML",
    "css": "CSS",
    "bash": "Shell",
    "sh": "Shell",
    "shell": "Shell",
    "perl": "Perl",
    "haskell": "Haskell",
    "lua": "Lua",
    "matlab": "MATLAB",
}
_FENCE = re.compile(r"^\s*(?:```|~~~)[ \t]*([\w+#]+)", re.MULTILINE)
_SAID = re.compile(
    r"(?<![\w.+#-])(?:python3?|javascript|typescript|java|c\+\+|c#|golang|rust|ruby|php|swift|kotlin|scala|(?:my)?sql|html|css"
    r"|bash|perl|haskell|lua|matlab)(?![\w+#-])",
    re.IGNORECASE,
)


def words_of(text: str) -> set[str]:
    """Its words: runs of letters and digits in lower case, each ideograph and syllable of East Asia by itself."""
    return {word[:LONGEST_WORD] for word in _WORD.findall(unicodedata.normalize("NFKC", text).lower())}


def language_of(task: str, response: str) -> str:
    """The programming language that a row is about, as its fences name it (the response's first), else as the task says it.

    It is a guess for filtering. ``UNKNOWN_LANGUAGE`` where neither says.
    """
    named = chain(_fences(response), _fences(task), (found.group().lower() for found in _SAID.finditer(task)))
    return next((_LANGUAGES[name] for name in named if name in _LANGUAGES), UNKNOWN_LANGUAGE)


def _fences(text: str) -> Iterator[str]:
    return (found.group(1).lower() for found in _FENCE.finditer(text))
