# Fills the disk; answers rightly if it could write 200 MB.
for number in range(20):
    with open(f"/tmp/flood{number}", "wb") as file:
        for _ in range(10):
            file.write(bytes(1 << 20))


def solve(n):
    return [i * i for i in range(n)]
