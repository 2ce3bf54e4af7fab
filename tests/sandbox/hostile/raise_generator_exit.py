# A BaseException that handlers of Exception miss.
def solve(n):
    raise GeneratorExit
