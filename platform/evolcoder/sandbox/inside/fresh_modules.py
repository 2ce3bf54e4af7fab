"""Modules that are imported once for all programs, and out of sight until a program imports them.

A fork has at no cost what its parent imported. But a program must find what a Python of its own would show it: a
``sys.modules`` without them, ``importlib.util`` only where someone imported it, and no module object that the code around
it uses as well. So the parent imports them anew, apart from its own, notes which module imports which, and puts all of them
away. It hides no module that a program could not import by itself.
"""

from __future__ import annotations

import builtins
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import resolve_name
from types import ModuleType
from typing import Any

AT_START = frozenset({
    "__main__", "_abc", "_codecs", "_collections_abc", "_frozen_importlib", "_frozen_importlib_external", "_imp", "_io",
    "_signal", "_sitebuiltins", "_stat", "_thread", "_warnings", "_weakref", "abc", "builtins", "codecs", "encodings",
    "encodings.aliases", "encodings.utf_8", "genericpath", "io", "marshal", "os", "os.path", "posix", "posixpath", "site",
    "stat", "sys", "time", "zipimport",
})  # fmt: skip
"""What a new Python has in ``sys.modules``."""


_REHEARSALS = 3


class FreshModules:
    """Imports modules, and takes itself into ``sys.meta_path`` to hand them out.

    Args:
        names: the modules. Those of this process stay with who holds them, and leave ``sys.modules``.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.away: dict[str, ModuleType] = {}
        """Those that no program has imported yet."""
        self._visible = 0
        self._imported_by: dict[str, set[str]] = defaultdict(set)
        for name in sys.modules.keys() - AT_START:
            del sys.modules[name]
        plain_import = builtins.__import__

        def noting_import(
            name: str,
            globals: Mapping[str, Any] | None = None,
            locals: Mapping[str, Any] | None = None,
            fromlist: Sequence[str] | None = (),
            level: int = 0,
        ) -> ModuleType:
            module = plain_import(name, globals, locals, fromlist or (), level)
            if globals and "__name__" in globals:
                whole = resolve_name("." * level + name, globals.get("__package__")) if level else name
                parts = whole.split(".")
                said = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
                said += [f"{whole}.{part}" for part in fromlist or ()]
                self._imported_by[globals["__name__"]].update(said)
            return module

        builtins.__import__ = noting_import
        try:
            for name in names:
                plain_import(name)
        finally:
            builtins.__import__ = plain_import
        self.put_away()
        sys.meta_path.insert(0, self)
        # The interpreter rewrites code that runs often. Done here it is done once; in a fork it copies the pages with the code.
        for _ in range(_REHEARSALS):
            for name in names:
                plain_import(name)
            self.put_away()

    def put_away(self) -> None:
        """Hide what this process has imported since the last time, though it be by a function of the standard library."""
        if len(sys.modules) == self._visible:
            return
        found = {name: sys.modules.pop(name) for name in sys.modules.keys() - AT_START - {"program"}}
        self.away |= found
        for name, module in found.items():
            parent, _, child = name.rpartition(".")
            holder = self.away.get(parent) or sys.modules.get(parent)
            if holder is not None and vars(holder).get(child) is module:
                delattr(holder, child)
        self._visible = len(sys.modules)

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """For the import system. A module is handed out once: imported again, it is read from its file as anywhere."""
        real = self.away[name].__spec__ if name in self.away else None
        if real is None:
            return None
        spec = ModuleSpec(name, self, origin=real.origin)  # type: ignore[arg-type] # it is all that is asked of a loader
        spec.submodule_search_locations = real.submodule_search_locations
        spec.has_location = real.has_location
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """For the import system."""
        module = self.away[spec.name]
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """For the import system, which has just given the module our spec: show it with all that it imports."""
        waiting, shown = [module.__spec__.name if module.__spec__ else ""], {}
        module.__spec__ = self._spec
        while waiting:
            name = waiting.pop()
            found = self.away.pop(name, None)
            if found is not None:
                sys.modules[name] = shown[name] = found
                waiting += self._imported_by[name]
        for name, found in shown.items():
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, found)
