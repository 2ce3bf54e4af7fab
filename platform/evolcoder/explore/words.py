"""What is looked for when someone searches: the words of a text, and the language that a row is about. Pure.

``pages/search.js`` takes words out of a query in the same way; a test in the browser compares the two.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST_WORD = 32
"""Characters; of a longer word the beginning counts."""

_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+")

UNKNOWN_LANGUAGE = "not said"
_NAMES = {
    "Python": "python py python3",
    "JavaScript": "javascript js jsx",
    "TypeScript": "typescript ts tsx",
    "Java": "java",
    "C": "c",
    "C++": "c++ cpp",
    "C#": "c# csharp",
    "Go": "go golang",
    "Rust": "rust",
    "Ruby": "ruby",
    "PHP": "php",
    "Swift": "swift",
    "Kotlin": "kotlin",
    "Scala": "scala",
    "R": "r",
    "SQL": "sql mysql",
    "HTML": "html",
    "CSS": "css",
    "Shell": "bash sh shell",
    "Perl": "perl",
    "Haskell": "haskell",
    "Lua": "lua",
    "MATLAB": "matlab",
}
_LANGUAGES = {name: language for language, names in _NAMES.items() for name in names.split()}
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
    places = ((_FENCE, response), (_FENCE, task), (_SAID, task))
    named = (name.lower() for pattern, text in places for name in pattern.findall(text))
    return next((_LANGUAGES[name] for name in named if name in _LANGUAGES), UNKNOWN_LANGUAGE)
