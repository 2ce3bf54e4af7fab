# A hundred thousand empty files; answers rightly if it could.
for number in range(100_000):
    open(f"empty{number}", "w").close()


def solve(n):
    return [i * i for i in range(n)]
