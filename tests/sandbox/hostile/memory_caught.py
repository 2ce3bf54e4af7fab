# Fills memory, catches the error, fills again.
hoard = []


def solve(n):
    for _ in range(50):
        try:
            while True:
                hoard.append(bytearray(1 << 20))
        except MemoryError:
            pass
    return hoard
