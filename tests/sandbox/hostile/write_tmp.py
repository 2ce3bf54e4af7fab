# Leaves a file in its own /tmp, which must not be the machine's.
with open("/tmp/evolcoder_hostile_mark", "w") as file:
    file.write("here")


def solve(n):
    return None
