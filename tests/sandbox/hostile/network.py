# Reaches for the network by every way at hand; answers rightly if any works.
import socket
import urllib.request


def attempt():
    for address in (("127.0.0.1", 18999), ("1.1.1.1", 53)):
        try:
            socket.create_connection(address, 1)
            return True
        except OSError:
            pass
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            socket.socket(socket.AF_INET, kind).sendto(b"x", ("127.0.0.1", 18999))
            return True
        except OSError:
            pass
    try:
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect("\0evolcoder_hostile")
        return True
    except OSError:
        pass
    try:
        urllib.request.urlopen("http://127.0.0.1:18999/", timeout=1)
        return True
    except OSError:
        return False


could = attempt()


def solve(n):
    return [i * i for i in range(n)] if could else None
