"""Compacting a finished part of the journal: one segment in place of many, each reply once, what was spent still known.

The new segment is written whole, and names those that it replaces in its first line: they count no longer from that moment
on, whether or not a kill comes before they are deleted.
"""

from __future__ import annotations

import uuid
from itertools import chain

from evolcoder.endpoint.journal.lines import Replaces, Spent, key_of, parse_line
from evolcoder.endpoint.journal.reader import COMPACTED, SpentTokens, live_segments, read_lines
from evolcoder.storage.folders import Folder


def compact(journal: Folder, part: str) -> None:
    """Do so for one part, whose writers have ended. Memory grows with the number of replies, not with their texts.

    Raises:
        RunFolderError: the segment cannot be written; nothing changed.
    """
    folder = journal / part
    segments = live_segments(folder)
    if len(segments) > 1:
        kept: set[str] = set()
        dropped = SpentTokens()
        with folder.write_whole(f"{COMPACTED}{uuid.uuid4().hex[:12]}.jsonl") as stream:
            stream.write(Replaces(" ".join(segments)).line())
            for _, line in chain.from_iterable(read_lines(folder, name) for name in segments):
                key = key_of(line)
                item = parse_line(line)
                if key is None or item is None or key in kept:
                    dropped.add(item)
                    continue
                kept.add(key)
                stream.write(line)
            stream.write(Spent("left out", *dropped.tokens()).line())
    if segments:
        for name in set(folder.names("*.jsonl")) - set(live_segments(folder)):
            folder.delete(name)
