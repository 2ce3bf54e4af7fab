"""The interpreter that DS-1000's programs run under: a virtual environment of its own with pinned packages.

It is built once on a machine, by ``evolcoder data ds1000-env``, below the cache folder; ``EVOLCODER_DS1000_ENV`` names a
ready one elsewhere. Nothing of it is ever imported here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from evolcoder.errors import DataError
from evolcoder.problems.files import data_folder
from evolcoder.sandbox.isolation import Interpreter
from evolcoder.storage.cache import cache_folder

ENVIRONMENT_VARIABLE = "EVOLCODER_DS1000_ENV"
BUILD_COMMAND = "evolcoder data ds1000-env"
PYTHON = (3, 11)
PINS = {
    "numpy": "1.26.4",
    "pandas": "1.5.3",
    "matplotlib": "3.8.4",
    "scipy": "1.12.0",
    "scikit-learn": "1.4.0",
    "seaborn": "0.13.2",
    "statsmodels": "0.14.1",
    "xgboost": "2.0.3",
    "gensim": "4.3.2",
    "tensorflow-cpu": "2.16.1",
    "torch": "2.13.0",
    "keras": "3.15.1",
    "pillow": "13.0.0",
    "lxml": "6.1.3",
    "beautifulsoup4": "4.15.0",
    "pyyaml": "6.0.4",
}
"""The versions with which the reference solutions were seen to pass."""

_COMMON = ("numpy", "numpy.testing", "pandas", "pandas.testing", "scipy.sparse", "scipy.stats")
_WARM = {
    "Pandas": (),
    "Numpy": ("scipy.ndimage",),
    "Scipy": ("scipy.integrate", "scipy.interpolate", "scipy.ndimage", "scipy.optimize", "scipy.signal", "scipy.spatial"),
    "Matplotlib": ("matplotlib.pyplot", "PIL.Image", "seaborn"),
    "Sklearn": (
        "sklearn.datasets", "sklearn.ensemble", "sklearn.feature_extraction.text", "sklearn.linear_model", "sklearn.metrics",
        "sklearn.model_selection", "sklearn.pipeline", "sklearn.preprocessing", "sklearn.svm", "sklearn.cluster",
    ),
    "Pytorch": ("torch", "torch.testing", "torch.distributed.tensor", "optree.pytree"),
    "Tensorflow": ("tensorflow",),
}  # fmt: skip
_ENVIRONMENT = (
    ("MPLBACKEND", "Agg"),
    ("MKL_NUM_THREADS", "1"),
    ("TF_NUM_INTRAOP_THREADS", "1"),
    ("TF_NUM_INTEROP_THREADS", "1"),
    ("TF_CPP_MIN_LOG_LEVEL", "3"),
    ("CUDA_VISIBLE_DEVICES", "-1"),
    ("JOBLIB_MULTIPROCESSING", "0"),
)
_FOLDERS = {"SEABORN_DATA": "seaborn-data", "SCIKIT_LEARN_DATA": "scikit-learn-data"}
_KERNEL_CHOICE = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Set by who knows that this machine's processor needs it: without them an old OpenBLAS may compute wrong results there."""

_MARK = "evolcoder.json"
_DESCRIBE = """
import importlib.metadata, json, os, sys, sysconfig
versions = {}
for name in sys.argv[1:]:
    try:
        versions[name] = importlib.metadata.version(name).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps({
    "executable": os.path.realpath(sys.executable), "base_prefix": os.path.realpath(sys.base_prefix),
    "standard_library": os.path.realpath(sysconfig.get_path("stdlib")), "site_packages": sysconfig.get_path("purelib"),
    "versions": versions, "python": list(sys.version_info[:2]),
}))
"""


def environment_folder() -> Path:
    """Where the environment is, or will be once it is built."""
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    return Path(named).expanduser() if named else cache_folder() / "ds1000-env"


def interpreter_for(library: str) -> Interpreter:
    """The interpreter for programs of one of DS-1000's libraries, with that library warm.

    Raises:
        DataError: it is not built, or holds other versions.
    """
    described, shortcomings = _described(environment_folder())
    if shortcomings:
        _described.cache_clear()  # it may be mended
        raise DataError(f"{shortcomings}; run `{BUILD_COMMAND}` (or name a ready one with {ENVIRONMENT_VARIABLE}).")
    folders = {name: (data_folder() / "ds1000" / folder).resolve() for name, folder in _FOLDERS.items()}
    return Interpreter(
        executable=Path(described["executable"]),
        base_prefix=Path(described["base_prefix"]),
        standard_library=Path(described["standard_library"]),
        site_packages=Path(described["site_packages"]),
        warm_modules=(*_COMMON, *_WARM[library]),
        folders=tuple((name, folder) for name, folder in folders.items() if folder.is_dir()),
        environment=(*_ENVIRONMENT, *((name, os.environ[name]) for name in _KERNEL_CHOICE if name in os.environ)),
    )


def build_environment(say: Callable[[str], None]) -> Path:
    """Build the environment unless it is there already; returns its folder.

    Raises:
        DataError: it cannot be built.
    """
    folder = environment_folder()
    _, shortcomings = _described(folder)
    if not shortcomings:
        say(f"{folder} is there already")
        return folder
    if ENVIRONMENT_VARIABLE in os.environ:
        raise DataError(f"{shortcomings}; unset {ENVIRONMENT_VARIABLE} to have an environment built.")
    if sys.version_info[:2] != PYTHON:
        raise DataError(
            f"DS-1000's packages need Python {PYTHON[0]}.{PYTHON[1]}, and this is {sys.version_info[0]}.{sys.version_info[1]}; "
            f"run `{BUILD_COMMAND}` with that Python, or name an environment with {ENVIRONMENT_VARIABLE}."
        )
    say(f"building {folder}: about 3 GB, some minutes")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _run([sys.executable, "-m", "venv", str(folder)], say)
        pins = [f"{name}=={version}" for name, version in PINS.items()]
        options = ["--progress-bar", "off", "--no-input", "--disable-pip-version-check"]
        _run([str(folder / "bin" / "python"), "-m", "pip", "install", *options, *pins], say)
        for path in (folder, *folder.rglob("*")):  # programs run as nobody, whoever built this and with whatever umask
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))
        (folder / _MARK).write_text(json.dumps(PINS, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise DataError(f"{folder} cannot be written ({error}); set EVOLCODER_CACHE to a folder with 4 GB free.") from None
    _described.cache_clear()
    _, shortcomings = _described(folder)
    if shortcomings:
        raise DataError(f"{shortcomings}; remove {folder} and run `{BUILD_COMMAND}` again.")
    say(f"{folder} is ready")
    return folder


def _run(command: list[str], say: Callable[[str], None]) -> None:
    """Run a command, and say the lines of its output that tell how far it is."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            last = line.strip() or last
            if line.startswith(("Collecting ", "Installing ", "Successfully ")):
                say(f"  {line.split(' (from')[0].strip()[:100]}")
    if process.returncode != 0:
        raise DataError(f"DS-1000's packages could not be installed ({last[:300]}); run `{BUILD_COMMAND}` again.")


@lru_cache(maxsize=4)
def _described(folder: Path) -> tuple[dict[str, Any], str]:
    """What the environment's Python says of itself, and what keeps it from being used, as a sentence without its end."""
    try:
        said = subprocess.run(
            [str(folder / "bin" / "python"), "-I", "-c", _DESCRIBE, *PINS],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        described: dict[str, Any] = json.loads(said.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        described = {}
    if not described or (ENVIRONMENT_VARIABLE not in os.environ and not (folder / _MARK).is_file()):
        return {}, f"{folder} is no finished environment for DS-1000"
    if tuple(described["python"]) != PYTHON:
        return {}, f"{folder} has Python {'.'.join(map(str, described['python']))}, not {PYTHON[0]}.{PYTHON[1]}"
    found: dict[str, str] = described["versions"]
    wrong = [
        f"{name} {found.get(name, 'missing')}, not {version}" for name, version in PINS.items() if found.get(name) != version
    ]
    return described, f"{folder} has other packages than DS-1000 needs ({', '.join(wrong)})" if wrong else ""
