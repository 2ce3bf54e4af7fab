# An exception that cannot be described.
class Nasty(Exception):
    def __str__(self):
        raise Nasty

    __repr__ = __str__


def solve(n):
    raise Nasty
