"""Text that others wrote, made encodable: seeds, replies, requests, samples and a model's output all pass here. Pure.

JSON may escape half a surrogate pair (``"\\ud83d"``), and a stream may be cut between the halves. Python reads that into a
string which no file, request, Arrow column or terminal can hold, so that it fails far from where it came in. Bytes are not
decoded here, and text is not normalised.
"""

from __future__ import annotations

from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def encodable_text(text: str) -> tuple[str, int]:
    """The text as UTF-8 can hold it, and how many characters were replaced.

    Two halves side by side become the character that they are; a half alone becomes U+FFFD.
    """
    if text.isascii():
        return text, 0
    # The decoder of UTF-16 joins halves; surrogatepass hands it lone ones as they are.
    mended = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return mended, mended.count(REPLACEMENT) - text.count(REPLACEMENT)


def encodable_json(value: Any) -> tuple[Any, int]:
    """The same for every text in decoded JSON, keys included. What it cannot look into stays as it is."""
    if isinstance(value, str):
        return encodable_text(value)
    if isinstance(value, list):
        items = [encodable_json(item) for item in value]
        return [item for item, _ in items], sum(count for _, count in items)
    if isinstance(value, dict):
        (keys, in_keys), (values, in_values) = encodable_json(list(value)), encodable_json(list(value.values()))
        return dict(zip(keys, values, strict=True)), in_keys + in_values
    return value, 0
