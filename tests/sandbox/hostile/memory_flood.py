# Allocates without end; answers rightly if it got 4 GB.
blocks = []
for _ in range(64):
    blocks.append(bytearray(64 << 20))


def solve(n):
    return [i * i for i in range(n)]
