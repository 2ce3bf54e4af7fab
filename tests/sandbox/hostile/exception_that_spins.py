# An exception whose description takes for ever.
class Slow(Exception):
    def __str__(self):
        while True:
            pass


def solve(n):
    raise Slow
