# Writes where it must not; answers rightly if it could anywhere.
import os
import sys


def attempt():
    places = ["/", "/box", "/packages", "/usr", "/usr/lib", "/lib", "/etc", "/dev", "/dev/shm", "/var/tmp", "/root", "/home"]
    places += [sys.prefix, os.path.dirname(os.__file__), os.path.dirname(sys.executable), "/tmp/.."]
    for place in places:
        try:
            with open(os.path.join(place, "evolcoder_hostile_mark"), "w") as file:
                file.write("here")
            return True
        except OSError:
            pass
    for place in ("/box/worker.py", "/box/codec.py", os.__file__):
        try:
            with open(place, "a") as file:
                file.write("#")
            return True
        except OSError:
            pass
    return False


could = attempt()


def solve(n):
    return [i * i for i in range(n)] if could else None
