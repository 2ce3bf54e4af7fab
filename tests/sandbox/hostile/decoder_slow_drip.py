# A reply that comes byte by byte and never ends.
import os
import time


def solve(n):
    os.write(3, (1000).to_bytes(4, "big"))
    while True:
        os.write(3, b"x")
        time.sleep(0.3)
