# Source that compiles to gigabytes.
exec("x = " + "(" * 90 + "1" + ",)" * 90)
y = eval("'a' * (1 << 33)")


def solve(n):
    return [i * i for i in range(n)]
