# DS1000/291
held = []
while True:
    held.append(bytearray(1 << 26))
