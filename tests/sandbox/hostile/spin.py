# Computes for ever, in one long operation that no Python signal handler interrupts.
def solve(n):
    return sum(range(10**15)) + len(str(3 ** (10**8)))
