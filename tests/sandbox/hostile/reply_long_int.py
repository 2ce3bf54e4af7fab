# An int with more digits than Python prints, to break the message about it.
def solve(n):
    return 10**5000
