# A reply that claims to be 4 GB long.
import os

os.write(3, b"\xff\xff\xff\xff" + b"x" * 1000)


def solve(n):
    return None
