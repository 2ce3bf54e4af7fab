# Changes the standard library by ways that ask for less than writing; answers rightly if any works.
import os

could = []
target = os.__file__
for name, act in {
    "truncating what is opened to read": lambda: os.open(target, os.O_RDONLY | os.O_TRUNC),
    "opening for nothing": lambda: os.open(target, os.O_ACCMODE | os.O_TRUNC),
    "truncating by name": lambda: os.truncate(target, 0),
    "mode": lambda: os.chmod(target, 0o777),
    "mode by descriptor": lambda: os.fchmod(os.open(target, os.O_RDONLY), 0o777),
    "owner": lambda: os.chown(target, os.getuid(), os.getgid()),
    "times": lambda: os.utime(target, (0, 0)),
    "attributes": lambda: os.setxattr(target, "user.evolcoder", b"x"),
    "a second name": lambda: os.link(target, "second"),
    "another name": lambda: os.rename(target, "other"),
    "a name in its place": lambda: os.symlink("nowhere", os.path.join(os.path.dirname(target), "evolcoder_hostile")),
    "deleting": lambda: os.unlink(target),
}.items():
    try:
        act()
        could.append(name)
    except OSError:
        pass


def solve(n):
    return [i * i for i in range(n)] if could else None
