# A list that holds itself.
def solve(n):
    value = []
    value.append(value)
    return value
