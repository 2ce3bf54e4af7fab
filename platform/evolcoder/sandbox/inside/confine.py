"""What a process does to itself, inside the box, before it runs a program: namespaces, mounts, capabilities, limits,
filters of system calls. Linux on x86-64 and arm64; the standard library alone.

The filter lets a program compute, use threads and files in its own /tmp; it refuses new processes, sockets, other
namespaces, tracing, shared memory segments and changes to the limits that decide its verdict. It refuses with EPERM, so
that a program that tries sees an ordinary exception. A second filter is for programs that share the machine's namespaces:
it keeps them from all processes but their own, and from what Landlock does not see.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

NOBODY = 65534

_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWPID = 0x00020000, 0x08000000, 0x10000000, 0x20000000
_CLONE_THREAD = 0x00010000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_REC, _MS_PRIVATE = 1, 2, 4, 8, 32, 16384, 1 << 18
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 24, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_PR_SET_KEEPCAPS, _PR_SET_CHILD_SUBREAPER = 8, 36
_CAP_DAC_READ_SEARCH = 2
_LAST_CAPABILITY = 63
_EINVAL, _EPERM, _ENOSYS, _ENOTTY, _EOPNOTSUPP = 22, 1, 38, 25, 95
_TMP_INODES = 2048
_PLAIN_FILES = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
# The x32 calls of an x86-64 kernel have numbers of their own: without this, each refused call could be made by its x32 twin.
_X32_BIT = 0x40000000

# name: (number on x86-64 or None, number on arm64 or None)
# EPERM, not a kill: honest programs probe for a feature and go on, and a program that tries sees an ordinary exception.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117),
    "socket": (41, 198), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202), "accept4": (288, 242),
    "connect": (42, 203), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "memfd_create": (319, 279), "memfd_secret": (447, 447),
    "shmget": (29, 194), "shmctl": (31, 195), "shmat": (30, 196), "shmdt": (67, 197),
    "semget": (64, 190), "semctl": (66, 191), "semop": (65, 193), "semtimedop": (220, 192),
    "msgget": (68, 186), "msgctl": (71, 187), "msgsnd": (69, 189), "msgrcv": (70, 188), "mq_open": (240, 180),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "kcmp": (312, 272), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "seccomp": (317, 277), "personality": (135, 92), "quotactl": (179, 60),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "reboot": (169, 142), "swapon": (167, 224), "syslog": (103, 116), "acct": (163, 89),
    "modify_ldt": (154, None), "ioperm": (173, None), "iopl": (172, None),
}  # fmt: skip
_REFUSED_WHERE_SHARED: dict[str, tuple[int | None, int | None]] = {
    # What Landlock does not see: modes, owners, times and attributes of files, and names as they come and go.
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "truncate": (76, 45),
    "getxattr": (191, 8), "lgetxattr": (192, 9), "fgetxattr": (193, 10), "listxattr": (194, 11), "llistxattr": (195, 12),
    "flistxattr": (196, 13),
    "inotify_init": (253, None), "inotify_init1": (294, 26), "inotify_add_watch": (254, 27), "statmount": (457, 457),
    "listmount": (458, 458), "quotactl_fd": (443, 443),
    # Other processes, and what all processes share. A timer can send any signal, also the one that nothing outlives.
    "setpriority": (141, 140), "ioprio_set": (251, 30), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "migrate_pages": (256, 238), "move_pages": (279, 239), "process_madvise": (440, 440),
    "process_mrelease": (448, 448), "mq_unlink": (241, 181), "io_setup": (206, 0), "timer_create": (222, 107),
    # Descriptors under way in a message are in no table: files without a name could be held in them, beyond all counting.
    "sendmsg": (46, 211), "sendmmsg": (307, 269),
}  # fmt: skip
_NOT_THERE_WHERE_SHARED = {"openat2": (437, 437, _ENOSYS), "fallocate": (285, 47, _EOPNOTSUPP)}
"""Its flags cannot be seen; it takes disk space faster than anyone can watch."""
_PRLIMIT64, _SCHED_SETAFFINITY = (302, 261), (203, 122)
_SIGNALS = {"kill": (62, 129, 1), "tkill": (200, 130, 1), "tgkill": (234, 131, 2), "rt_sigqueueinfo": (129, 138, 1),
            "rt_tgsigqueueinfo": (297, 240, 2)}  # fmt: skip
"""The third number is the place of the signal among the arguments; the first argument is whom it is for."""
_SIGKILL, _SIGSTOP = 9, 19
_OPEN, _OPENAT = (2, None), (257, 56)
_O_ACCMODE, _O_TRUNC, _O_TMPFILE_BIT = 0o3, 0o1000, 0o20000000
_FCNTL, _IOCTL, _SOCKETPAIR = (72, 25), (16, 29), (53, 199)
_REFUSED_FCNTL = (8, 10, 15, 1024, 1026, 1031)
"""F_SETOWN, F_SETSIG, F_SETOWN_EX (signals to others), F_SETLEASE, F_NOTIFY (files of others), F_SETPIPE_SZ (a user's
pipes share their memory).
"""
_ALLOWED_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: what Python uses on files and sockets."""
_CLONE = (56, 220)
_CLONE3 = (435, 435)
_PRCTL = (157, 167)
_SETRLIMIT = (160, 164)
_NEWEST_SYSCALL = 460
"""Numbers above it are newer than this list, and unknown to it: they do not exist for a program."""


class _SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)


def _check(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def _prctl(option: int, argument: int = 0, second: int = 0) -> None:
    _check(_libc.prctl(option, argument, second, 0, 0), f"prctl {option}")


def become_nobody(keep_search: bool = False) -> None:
    """Give up root for good, and keep /proc/self writable for the user namespaces to come.

    Args:
        keep_search: keep the one capability to read files whatever their modes. Landlock alone then says which.
    """
    if os.getuid() == 0:
        _prctl(_PR_SET_KEEPCAPS, int(keep_search))
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        if keep_search:
            keep_capabilities(1 << _CAP_DAC_READ_SEARCH)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 1)


def enter_namespaces(tmp_bytes: int, names_itself: bool = False) -> None:
    """Move to new user, mount, ipc and (for the next child) process namespaces, with an own /tmp and nothing in /proc.

    Args:
        names_itself: leave three files in /proc that say nothing new, without which some libraries do not work: TensorFlow
            ends a process that cannot read the first two, and scikit-learn's KMeans raises without the third.

    Raises:
        OSError: the kernel allows no nested user namespace, or a mount failed.
    """
    # All at once: the new user namespace is what allows the others without privileges. The process namespace is entered by
    # the next child only, never by the caller. No network namespace: bubblewrap has made an empty one for the whole box.
    _check(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWIPC | _CLONE_NEWPID), "unshare")
    _prctl(_PR_SET_DUMPABLE, 1)
    # gid_map can be written without privileges only after setgroups is denied.
    for told, text in (("setgroups", "deny"), ("gid_map", f"{NOBODY} {NOBODY} 1"), ("uid_map", f"{NOBODY} {NOBODY} 1")):
        with open(f"/proc/self/{told}", "w", encoding="ascii") as file:
            file.write(text)
    # Private first, or the mounts that follow would appear in the box's own namespace too.
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE, None)
    _mount("tmpfs", "/tmp", "tmpfs", _PLAIN_FILES, f"size={tmp_bytes},nr_inodes={_TMP_INODES},mode=1777")
    _mount("tmpfs", "/proc", "tmpfs", _PLAIN_FILES, "size=4096,nr_inodes=6,mode=755")
    if names_itself:
        os.mkdir("/proc/self")
        os.symlink(sys.executable, "/proc/self/exe")
        for name, said in (("cmdline", b"python\0"), ("maps", b"")):
            with open(f"/proc/self/{name}", "wb") as made:
                made.write(said)
    _mount(None, "/proc", None, _PLAIN_FILES | _MS_REMOUNT | _MS_RDONLY, None)
    os.chdir("/tmp")


def resize_tmp(tmp_bytes: int) -> None:
    """Let /tmp hold this much from now on; only in the namespaces that ``enter_namespaces`` made."""
    _mount(None, "/tmp", None, _PLAIN_FILES | _MS_REMOUNT, f"size={tmp_bytes},nr_inodes={_TMP_INODES}")


def tmp_state() -> tuple[object, ...]:
    """All that a program can change of an empty /tmp: equal states hold no trace of what ran in between."""
    found = os.stat("/tmp")
    times = (found.st_mtime_ns, found.st_ctime_ns)
    try:
        attributes = os.listxattr("/tmp")
    except OSError:
        attributes = []  # this kernel's tmpfs has none
    return (found.st_mode, found.st_uid, found.st_gid, found.st_nlink, times, os.listdir("/tmp"), attributes)


@contextmanager
def process_namespace() -> Iterator[None]:
    """What is forked meanwhile, a single child, is the first of a process namespace, and all in it end with that child.

    For a process that has ``enter_namespaces`` behind it, and is the first of the process namespace made there: only it can
    come back.
    """
    _check(_libc.unshare(_CLONE_NEWPID), "unshare")
    yield
    # setns to its own pidfd undoes the unshare above: only what children are born into was changed, never its own namespace.
    own = os.pidfd_open(os.getpid())
    try:
        _check(_libc.setns(own, _CLONE_NEWPID), "setns")
    finally:
        os.close(own)


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None) -> None:
    encoded = (text if text is None else text.encode() for text in (source, target, kind))
    data = None if options is None else options.encode()
    _check(_libc.mount(*encoded, flags, data), f"mount {target}")


def die_with_parent(parent: int | None = None) -> None:
    """The kernel kills this process when the thread that forked it ends.

    Args:
        parent: its process id, where it can be seen: it may have died before the kernel was told.
    """
    _prctl(_PR_SET_PDEATHSIG, 9)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def become_subreaper() -> None:
    """Whatever a child of this process leaves behind becomes a child of this process."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def limit_resources(memory_bytes: int, cpu_seconds: int, file_bytes: int, processes: int) -> None:
    """Bound this process. The CPU limit is a backstop: the trusted side's own clock decides first."""
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NPROC: processes,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_SIGPENDING: 256,
    }
    for which, value in limits.items():
        _, hard = resource.getrlimit(which)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (allowed, allowed))


def empty_bounding_set() -> None:
    """Nothing that this process starts can ever have a capability that it was not given here."""
    for capability in range(_LAST_CAPABILITY + 1):
        if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            if ctypes.get_errno() != _EINVAL:
                raise OSError(ctypes.get_errno(), "the capability bounding set cannot be emptied")
            break  # the kernel knows no higher one


def keep_capabilities(mask: int) -> None:
    """Give up every capability of this process but those in the mask. Nothing it becomes can have more: it never can."""
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = struct.pack("=Ii", 0x20080522, 0)
    _check(_libc.capset(header, struct.pack("=6I", mask, mask, 0, 0, 0, 0)), "capset")


def filter_system_calls(shared: bool = False) -> None:
    """Install the filter; it holds for every thread to come and cannot be removed.

    Args:
        shared: this process shares the machine's namespaces, so install the second filter too.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)  # without it the kernel takes no filter from a process that is not root
    _prctl(_PR_SET_DUMPABLE, 0)
    machine = os.uname().machine
    # The kernel asks all filters and the strictest answer holds. The shared one goes first: the other refuses filters.
    for program in ([shared_filter_program(machine, os.getpid())] if shared else []) + [filter_program(machine)]:
        fprog = _SockFprog(len(program) // 8, program)
        _prctl(_PR_SET_SECCOMP, 2, ctypes.addressof(fprog))


@lru_cache(maxsize=1)
def filter_program(machine: str) -> bytes:
    """The BPF program for an architecture, as ``struct sock_filter`` records.

    Raises:
        OSError: the architecture is not known here.
    """
    token, column = _architecture(machine)
    kill = _op(_RETURN, 0x80000000)
    # Another architecture (int 0x80 on x86-64) has other numbers, so that the list below would mean other calls.
    lines = [_op(_LOAD, 4), _op(_IF_EQUAL, token, 1, 0), kill, _op(_LOAD, 0)]
    if column == 0:
        lines += [_op(_IF_AT_LEAST, _X32_BIT, 0, 1), kill]
    lines += [_op(_IF_ABOVE, _NEWEST_SYSCALL, 0, 1), _refuse(_ENOSYS)]
    for numbers in _REFUSED.values():
        lines += _when(numbers[column], [_refuse(_EPERM)])
    # glibc falls back to clone when clone3 is not there, and clone's flags can be seen: threads only.
    lines += _when(_CLONE3[column], [_refuse(_ENOSYS)])
    lines += _when(_CLONE[column], [_argument(0), _op(_IF_ANY_BIT, _CLONE_THREAD, 1, 0), _refuse(_EPERM), _ALLOW])
    dangerous = (_PR_SET_SECCOMP, _PR_SET_DUMPABLE, _PR_SET_PDEATHSIG)
    lines += _when(_PRCTL[column], _choose(0, dangerous, _refuse(_EPERM), _ALLOW))
    lines += _when(_SETRLIMIT[column], _choose(0, (resource.RLIMIT_CPU,), _refuse(_EPERM), _ALLOW))
    lines += _when(_PRLIMIT64[column], _choose(1, (resource.RLIMIT_CPU,), _refuse(_EPERM), _ALLOW))
    return b"".join([*lines, _ALLOW])


def shared_filter_program(machine: str, pid: int) -> bytes:
    """The second filter, for the process with this id. Other architectures' calls are the first one's to refuse.

    Raises:
        OSError: the architecture is not known here.
    """
    _, column = _architecture(machine)
    lines = [_op(_LOAD, 0)]
    for numbers in _REFUSED_WHERE_SHARED.values():
        lines += _when(numbers[column], [_refuse(_EPERM)])
    for *either, error in _NOT_THERE_WHERE_SHARED.values():
        lines += _when(either[column], [_refuse(error)])
    for numbers in (_PRLIMIT64, _SCHED_SETAFFINITY):
        lines += _when(numbers[column], _choose(0, (0, pid), _ALLOW, _refuse(_EPERM)))
    for *either, place in _SIGNALS.values():
        own = [_argument(0), _op(_IF_EQUAL, pid, 1, 0), _refuse(_EPERM)]
        lines += _when(either[column], [*own, *_choose(place, (_SIGKILL, _SIGSTOP), _refuse(_EPERM), _ALLOW)])
    lines += _when(_OPEN[column], _check_open(1)) + _when(_OPENAT[column], _check_open(2))
    lines += _when(_FCNTL[column], _choose(1, _REFUSED_FCNTL, _refuse(_EPERM), _ALLOW))
    lines += _when(_IOCTL[column], _choose(1, _ALLOWED_IOCTL, _ALLOW, _refuse(_ENOTTY)))
    # Through a pair of datagram sockets, messages can be sent to any socket that has a name. A stream cannot.
    lines += _when(_SOCKETPAIR[column], [_argument(1), _op(_AND, 0xF), _op(_IF_EQUAL, 1, 1, 0), _refuse(_EPERM), _ALLOW])
    return b"".join([*lines, _ALLOW])


def _architecture(machine: str) -> tuple[int, int]:
    if machine not in _ARCHITECTURES:
        raise OSError(_ENOSYS, f"no filter of system calls is known for {machine}")
    return _ARCHITECTURES[machine]


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One instruction: a ``struct sock_filter``. A jump skips this many of the instructions that follow it."""
    return struct.pack("=HBBI", code, if_true, if_false, value)


_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_IF_EQUAL, _IF_ABOVE, _IF_AT_LEAST, _IF_ANY_BIT = 0x15, 0x25, 0x35, 0x45
_ALLOW = _op(_RETURN, 0x7FFF0000)


def _refuse(error: int) -> bytes:
    return _op(_RETURN, 0x00050000 | error)


def _argument(place: int) -> bytes:
    # Of struct seccomp_data: the number is at 0, the architecture at 4, the low halves of the arguments at 16, 24, ...
    return _op(_LOAD, 16 + 8 * place)


def _when(number: int | None, lines: list[bytes]) -> list[bytes]:
    """Do this for one system call; the lines end in an answer."""
    return [] if number is None else [_op(_IF_EQUAL, number, 0, len(lines)), *lines]


def _choose(place: int, values: tuple[int, ...], answer: bytes, otherwise: bytes) -> list[bytes]:
    """One answer where an argument is any of the values, and another where it is none."""
    checks = [part for value in values for part in (_op(_IF_EQUAL, value, 0, 1), answer)]
    return [_argument(place), *checks, otherwise]


def _check_open(place: int) -> list[bytes]:
    """Refuse flags by which Landlock is asked for less than is done: to truncate what is opened to be read, to open for
    neither reading nor writing, and files that never have a name, which cannot be counted.
    """
    accesses = [_argument(place), _op(_AND, _O_ACCMODE), _op(_IF_EQUAL, _O_ACCMODE, 0, 1), _refuse(_EPERM)]
    truncating = [_argument(place), _op(_AND, _O_ACCMODE | _O_TRUNC), _op(_IF_EQUAL, _O_TRUNC, 0, 1), _refuse(_EPERM)]
    nameless = [_argument(place), _op(_AND, _O_TMPFILE_BIT), _op(_IF_EQUAL, 0, 1, 0), _refuse(_EOPNOTSUPP)]
    return [*accesses, *truncating, *nameless, _ALLOW]
