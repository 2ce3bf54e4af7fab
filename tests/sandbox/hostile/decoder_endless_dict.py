# A dict that never ends, and one that nests itself.
import sys

sys.modules["codec"].encode_fast = lambda *a, **k: b"{" * 3_000_000


def solve(n):
    return None
