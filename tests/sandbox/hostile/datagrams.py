# Sends a datagram to a socket with a name, through a pair of sockets; answers rightly if it was taken.
import socket

sent = False
for kind in (socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_STREAM):
    for address in ("\0evolcoder_hostile_datagrams", "/tmp/evolcoder_hostile_datagrams", "/dev/log", "/run/systemd/journal/socket"):
        try:
            ours, other = socket.socketpair(socket.AF_UNIX, kind)
            if kind == socket.SOCK_DGRAM:
                ours.sendto(b"x", address)
            else:
                ours.sendmsg([b"x"], [], 0, address)
            sent = sent or not other.recv(1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = True
        except OSError:
            pass


def solve(n):
    return [i * i for i in range(n)] if sent else None
