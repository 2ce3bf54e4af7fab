# Leaves state wherever the next program might find it.
import builtins
import math
import sys

math.evolcoder_state = builtins.evolcoder_state = True
sys.modules["evolcoder_state"] = sys
for place in ("/tmp/evolcoder_state", "/box/evolcoder_state", "/dev/evolcoder_state"):
    try:
        with open(place, "w") as file:
            file.write("1")
    except OSError:
        pass


def solve(n):
    return None
