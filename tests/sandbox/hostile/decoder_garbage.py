# Random bytes in place of a reply.
import os

os.write(3, (5000).to_bytes(4, "big") + os.urandom(5000))


def solve(n):
    return None
