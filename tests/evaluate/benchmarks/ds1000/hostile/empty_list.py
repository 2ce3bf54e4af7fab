# DS1000/467
result = []
X = Y = Z = result
