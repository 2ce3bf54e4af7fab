"""Landlock: what a process may still do with files, network and signals once it has shut itself in. For machines without
user namespaces. Used inside the box and out, so it needs the standard library alone; no dependency beside the kernel.

A rule grants rights on a file, or on a folder and all below it; what no rule grants is refused, for good. Landlock does
not see everything; the filter of system calls (confine.py) refuses most of the rest, and docs/evaluate.md ("Levels") says
what stays possible.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

Paths = Sequence[Path]

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH, _LOG_NOTHING = 1, 1, 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG, _MAKE_SYM = 1 << 4, 1 << 5, 1 << 7, 1 << 8, 1 << 12
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FIRST_RIGHTS = (1 << 13) - 1
_TCP = 0b11
"""To bind and to connect."""
_SCOPES = 0b11
"""Abstract sockets and signals: not beyond the programs that are shut in together."""

_ABI_REFER, _ABI_TRUNCATE, _ABI_TCP, _ABI_IOCTL, _ABI_SCOPES, _ABI_LOGS = 2, 3, 4, 5, 6, 7

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


@dataclass(frozen=True)
class Rights:
    """What a kernel's Landlock can refuse, as the kernel's bits, and which of it a program is granted where."""

    handled_files: int
    handled_network: int
    scopes: int
    attribute_bytes: int
    restrict_flags: int
    own_folder: int
    readable_folder: int = _READ_FILE | _READ_DIR
    readable_file: int = _READ_FILE
    device: int = _READ_FILE | _WRITE_FILE


def rights(abi: int) -> Rights:
    """All that Landlock of this version can refuse is refused, but for what a program needs.

    Raises:
        OSError: there is no Landlock.
    """
    if abi < 1:
        raise OSError(errno.ENOSYS, "the kernel has no Landlock (Linux 5.13 or newer, enabled at boot)")
    refer = _REFER if abi >= _ABI_REFER else 0
    truncate = _TRUNCATE if abi >= _ABI_TRUNCATE else 0
    own = _READ_FILE | _READ_DIR | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SYM
    return Rights(
        handled_files=_FIRST_RIGHTS | refer | truncate | (_IOCTL_DEV if abi >= _ABI_IOCTL else 0),
        handled_network=_TCP if abi >= _ABI_TCP else 0,
        scopes=_SCOPES if abi >= _ABI_SCOPES else 0,
        attribute_bytes=24 if abi >= _ABI_SCOPES else 16 if abi >= _ABI_TCP else 8,
        restrict_flags=_LOG_NOTHING if abi >= _ABI_LOGS else 0,
        own_folder=own | refer | truncate,
    )


def version() -> int:
    """The kernel's version of Landlock; 0 when it has none."""
    found: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    return max(found, 0)


def around(root: Path, hidden: Paths) -> list[Path]:
    """What to grant so that all below ``root`` is granted but the ``hidden`` folders: rules cannot take back.

    Symbolic links are left out where something is hidden: the rule would be for what they point at.
    """
    if not any(folder.is_relative_to(root) for folder in hidden):
        return [root]
    if root in hidden:
        return []
    return [part for entry in sorted(root.iterdir()) if not entry.is_symlink() for part in around(entry, hidden)]


class Rulesets:
    """What every program of one box is granted: prepared once, by the warm parent; each program shuts itself in.

    Two sets of rules are put on a program, and what it does must be granted by both. One is exact and long, and the same for
    all; the other is short and names the program's own folder. So a program costs few rules, and sees no other's folder.

    Args:
        abi: at most the kernel's version.
        readable: files and folders to read, where they exist, but for the ``hidden`` folders in them.
        listable: folders of which the names may be read, and the names below them.
        devices: files to read and to write.
        base: the folder that holds the programs' own.

    Raises:
        OSError: there is no Landlock.
    """

    def __init__(self, abi: int, readable: Paths, hidden: Paths, listable: Paths, devices: Paths, base: Path) -> None:
        self._rights = rights(abi)
        self._exact = self._ruleset()
        shared = [(path, _READ_DIR) for path in listable] + [(path, self._rights.device) for path in devices]
        exact = [(part, self._reading(part)) for root in readable for part in around(root, hidden)]
        for path, granted in [*exact, *shared, (base, self._rights.own_folder)]:
            for handle in _opened(path):
                _add(self._exact, handle, granted)
                os.close(handle)
        short = [(root, self._reading(root)) for root in readable] + shared
        self._short = [(handle, granted) for path, granted in short for handle in _opened(path)]

    def restrict_self(self, folder: str) -> None:
        """Allow this process, for good, what all programs are granted, and to do as it likes in ``folder``."""
        ruleset = self._ruleset()
        own = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for handle, granted in (*self._short, (own, self._rights.own_folder)):
                _add(ruleset, handle, granted)
            for rules in (self._exact, ruleset):
                _checked(_libc.syscall(_RESTRICT_SELF, rules, self._rights.restrict_flags), "landlock_restrict_self")
        finally:
            os.close(own)
            os.close(ruleset)

    def _ruleset(self) -> int:
        attribute = struct.pack("=QQQ", self._rights.handled_files, self._rights.handled_network, self._rights.scopes)
        size = ctypes.c_size_t(self._rights.attribute_bytes)
        return _checked(_libc.syscall(_CREATE_RULESET, attribute, size, 0), "landlock_create_ruleset")

    def _reading(self, path: Path) -> int:
        return self._rights.readable_folder if path.is_dir() else self._rights.readable_file


def _opened(path: Path) -> list[int]:
    """A handle on the file or folder; none where there is nothing to be granted."""
    try:
        return [os.open(path, os.O_PATH | os.O_CLOEXEC)]
    except FileNotFoundError:
        return []


def _add(ruleset: int, handle: int, granted: int) -> None:
    rule = struct.pack("=Qi", granted, handle)
    _checked(_libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0), "landlock_add_rule")


def _checked(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result
