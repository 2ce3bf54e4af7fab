"""Data for the pages in small files, each a script that hands its data to the page.

Scripts rather than JSON, because a page that is opened from a disk may load a script beside it and may fetch nothing. What
the data mean is not known here.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import FileEntry

DATA = "data"


def script(name: str, value: Any) -> bytes:
    """A script that registers plain data under a name.

    Objects have keys of ours alone: in a script, unlike in JSON, a key ``__proto__`` would be more than a key. No text can end
    the script or its line, wherever it is put: ``<`` and the two line separators are escaped, and so is half a surrogate pair.
    """
    text = json.dumps([name, value], ensure_ascii=False, separators=(",", ":"))
    for sign in ("<", "\u2028", "\u2029"):
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f"explorerShard(...{text});\n".encode("utf-8", "backslashreplace")


class Shards:
    """Writes shards below ``data/`` of a folder and remembers what it wrote, for a manifest."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.files: list[FileEntry] = []

    def put(self, name: str, value: Any) -> None:
        """``name`` is of our making: words, numbers and slashes."""
        self.write(f"{DATA}/{name}.js", script(name, value))

    def write(self, path: str, data: bytes) -> None:
        self._folder.write_bytes(path, data)
        self.files.append(FileEntry(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))
