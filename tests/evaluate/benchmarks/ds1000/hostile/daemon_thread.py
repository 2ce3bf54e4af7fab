# DS1000/291
import threading, time


def later():
    while True:
        time.sleep(0.001)


for _ in range(30):
    threading.Thread(target=later, daemon=True).start()
result = "wrong"
