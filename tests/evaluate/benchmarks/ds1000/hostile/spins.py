# DS1000/0
while True:
    pass
