# DS1000/1
def deep(n):
    return deep(n + 1)


import sys

sys.setrecursionlimit(10**9)
result = deep(0)
