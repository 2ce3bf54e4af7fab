# Computes for ever in the background and answers wrongly at once.
import threading


def burn():
    while True:
        pass


for _ in range(4):
    threading.Thread(target=burn, daemon=True).start()


def solve(n):
    return None
