# DS1000/294
result = []
