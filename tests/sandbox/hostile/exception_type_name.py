# An exception whose type has a name of a million characters.
Huge = type("AssertionError" * 100_000, (BaseException,), {})


def solve(n):
    raise Huge("x" * 10_000_000)
