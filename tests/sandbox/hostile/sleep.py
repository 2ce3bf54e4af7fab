# Waits for ever without using CPU time.
import time


def solve(n):
    time.sleep(3600)
