# An int whose printing takes for ever.
def solve(n):
    return [1 << 40_000_000]
