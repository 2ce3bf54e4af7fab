# Threads with the smallest of stacks, without end; answers rightly if it could start two thousand.
import threading
import time

threading.stack_size(32768)
for _ in range(2000):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()


def solve(n):
    return [i * i for i in range(n)]
