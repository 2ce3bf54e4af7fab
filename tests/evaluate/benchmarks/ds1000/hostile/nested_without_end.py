# DS1000/10
result = []
for _ in range(100_000):
    result = [result]
df = result
