# DS1000/0
import time

while True:
    time.sleep(1000)
