"""The rules of the house: where things live, who may import whom, and what stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "platform" / "evolcoder"
STAGES = {"evolve", "train", "serve", "evaluate"}
FLOORS = [
    {"benchmark_table", "errors", "exits", "records", "text"},
    {"storage", "console", "settings"},
    {"run"},
    {"endpoint", "sandbox", "problems", "sources", "cluster", "embedded", "board", "side_by_side"},
    {"models"},
    {*STAGES, "plan", "doctor"},
    {"stages"},
    {"study"},
    {"explore"},
    {"verbs", "making"},
    {"cli", "job"},
]
"""Lowest first. A room may import from lower floors, from its own files, and, but for the stages, from its own floor."""

HEAVY = {"ray", "torch", "transformers", "deepspeed", "vllm"}
# What runs on Ray or torch. Every rule lives in a module that is not here, and is tested without either.
MAY_IMPORT_HEAVY = {
    "board.py",
    "cluster.py",
    "doctor.py",
    "embedded.py",
    "endpoint/limits/shared_limiter.py",
    "evolve/rounds/on_ray.py",
    "train/attention.py",
    "train/checkpoints.py",
    "train/engine.py",
    "train/export.py",
    "train/fit.py",
    "train/internals.py",
    "train/launch.py",
    "train/loop.py",
    "train/loss.py",
    "train/model_size.py",
    "train/resources.py",
    "train/steps.py",
    "serve/launch.py",
    "serve/replicas.py",
    "serve/engines/cache.py",
    "serve/engines/choosing.py",
    "serve/engines/decoders.py",
    "serve/engines/loading.py",
    "serve/engines/sampling.py",
    "serve/engines/transformers.py",
    "evaluate/execution.py",
    "evaluate/pipeline.py",
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def floor(name: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if name in rooms)


def test_platform_is_a_source_root_and_not_a_package() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    shown = subprocess.run(
        [sys.executable, "-c", "import platform; print(platform.__file__)"], cwd=ROOT, capture_output=True, text=True
    )
    assert shown.stdout.strip().endswith("platform.py")


def test_every_folder_of_modules_is_a_package() -> None:
    """One that lacks its ``__init__.py`` is not installed; a name that .gitignore holds would keep it out of every clone."""
    assert [str(path.parent) for path in modules() if not (path.parent / "__init__.py").exists()] == []


def test_every_room_has_a_floor() -> None:
    known = set().union(*FLOORS)
    rooms = {room(path) for path in modules()} - {"__init__"}
    assert rooms <= known, f"say on which floor these live: {rooms - known}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_downward_only(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        return
    for name in imported_names(path):
        parts = name.split(".")
        if parts[0] != "evolcoder" or len(parts) < 2 or parts[1] == here:
            continue
        assert floor(parts[1]) <= floor(here), f"{here} imports upward: {name}"
        assert not (here in STAGES and parts[1] in STAGES), f"stages meet in the run folder, not by import: {here} -> {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_adapters_import_heavy_packages(path: Path) -> None:
    heavy = {name.split(".")[0] for name in imported_names(path)} & HEAVY
    if heavy:
        assert str(path.relative_to(PACKAGE)) in MAY_IMPORT_HEAVY, f"imports {heavy}"


def test_help_imports_nothing_heavy() -> None:
    """The command line must answer at once: what is slow to import is imported by the verb that needs it."""
    slow = {*HEAVY, "altair", "openai", "pyarrow", "pydantic", "omegaconf"}
    code = (
        "import sys; from evolcoder import cli\n"
        "try: cli.app(['--help'], prog_name='evolcoder')\n"
        f"finally: print('LOADED', *sorted({slow} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "Commands" in shown.stdout
    assert shown.stdout.splitlines()[-1] == "LOADED"


def test_no_job_hides_a_package_that_is_imported() -> None:
    """``python jobs/x.py`` puts jobs/ first on the path."""
    names = {path.stem for path in (ROOT / "jobs").glob("*.py")}
    assert not names & {name.split(".")[0] for path in modules() for name in imported_names(path)}


INSIDE = sorted({path.parent for path in PACKAGE.rglob("inside/*.py")})
BOXED_LIBRARIES = {"numpy", "PIL"}
"""Of the interpreter that DS-1000's programs run under, and only within functions: nothing is imported with the module."""

DYNAMIC_IMPORTS = {
    ("worker.py", "__import__"),
    ("fresh_modules.py", "__import__"),
    ("rebuild.py", "import_module"),
}
"""Modules to be warm, which the trusted side or the worker names, and the libraries that rebuild.py names itself."""


def test_the_folders_beside_hostile_programs_are_there() -> None:
    assert [str(folder.relative_to(PACKAGE)) for folder in INSIDE] == ["evaluate/benchmarks/ds1000/inside", "sandbox/inside"]


@pytest.mark.parametrize("path", [path for folder in INSIDE for path in sorted(folder.glob("*.py"))], ids=lambda p: p.stem)
def test_beside_hostile_programs_only_the_standard_library_and_neighbours_are_imported(path: Path) -> None:
    own = ".".join(("evolcoder", *path.parent.relative_to(PACKAGE).parts))
    neighbours = {neighbour.stem for neighbour in path.parent.glob("*.py")}
    tree = ast.parse(path.read_text("utf-8"))
    in_functions = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for inner in ast.walk(node)
        if inner is not node
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or "."]
            allowed = sys.stdlib_module_names | neighbours | (BOXED_LIBRARIES if id(node) in in_functions else set())
            strangers = [name for name in names if name.split(".")[0] not in allowed and not name.startswith(f"{own}.")]
            assert not strangers, f"{path.name} imports {strangers}"
        elif isinstance(node, ast.Name | ast.Attribute):
            called = node.id if isinstance(node, ast.Name) else node.attr
            if called in ("__import__", "import_module", "exec_module", "spec_from_file_location"):
                assert (path.name, called) in DYNAMIC_IMPORTS, f"{path.name} imports by {called}"


@pytest.mark.parametrize("folder", INSIDE, ids=lambda p: p.parent.name)
def test_what_is_beside_hostile_programs_loads_where_nothing_else_is(folder: Path) -> None:
    """Without site-packages and without this package: only the folder itself can be found, by bare or by full names."""
    parts = ("evolcoder", *folder.relative_to(PACKAGE).parts)
    names = [".".join(parts[: end + 1]) for end in range(len(parts))]
    stems = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    code = (
        "import importlib, sys, types\n"
        f"for name in {names}:\n    sys.modules[name] = types.ModuleType(name)\n    sys.modules[name].__path__ = []\n"
        f"sys.modules[{names[-1]!r}].__path__ = [{str(folder)!r}]\nsys.path.insert(0, {str(folder)!r})\n"
        f"for stem in {stems}: importlib.import_module({names[-1]!r} + '.' + stem)\n"
        f"known = sys.stdlib_module_names | {set(stems)} | {{'evolcoder', '__main__'}}\n"
        "print('STRANGERS', *sorted({name for name in sys.modules if name.split('.')[0] not in known}))"
    )
    shown = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert shown.stdout.strip() == "STRANGERS", shown.stdout + shown.stderr
