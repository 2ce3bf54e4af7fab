# A result of 100 MB.
def solve(n):
    return "x" * 100_000_000
