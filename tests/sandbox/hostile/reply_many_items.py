# Two million small items in a small reply.
def solve(n):
    return [None] * 2_000_000
