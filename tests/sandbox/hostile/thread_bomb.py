# Starts threads without end; answers rightly if it could start a thousand.
import threading
import time

for _ in range(1000):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()


def solve(n):
    return [i * i for i in range(n)]
