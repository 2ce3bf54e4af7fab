# Writes to standard output and error without end.
import sys


def solve(n):
    while True:
        sys.stdout.write("x" * 1000000)
        sys.stderr.write("x" * 1000000)
