# Nested so deep that a recursive reader falls over.
def solve(n):
    value = []
    for _ in range(100_000):
        value = [value]
    return value
