# DS1000/511
import sys, zlib

sys._getframe(1).f_globals["_picture"] = lambda: ((1 << 20, 1 << 20), zlib.compress(bytes(1 << 26)))
