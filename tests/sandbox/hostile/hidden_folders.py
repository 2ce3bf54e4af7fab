# A folder that its owner cannot list, with 100 MB in it; answers rightly if it could.
import os
import time

os.mkdir("dark", 0o300)
for number in range(100):
    with open(f"dark/{number}", "wb") as file:
        file.write(bytes(1 << 20))
    time.sleep(0.01)


def solve(n):
    return [i * i for i in range(n)]
