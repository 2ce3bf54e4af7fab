# Leaves a daemon behind; answers rightly if it could.
import os
import time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            time.sleep(1)
    os._exit(0)


def solve(n):
    return [i * i for i in range(n)]
