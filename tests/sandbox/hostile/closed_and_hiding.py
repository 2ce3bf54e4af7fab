# Closes its channel and goes on computing.
import os

os.close(3)
while True:
    pass
