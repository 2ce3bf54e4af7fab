"""Which programs might get another verdict since they run as in a Python of their own."""

from __future__ import annotations

import pytest

from evolcoder.evaluate.running_version import run_alike
from evolcoder.problems.rows import problem_rows

ALIKE = [
    "def f(x):\n    return x\n",
    "from typing import List\n\n\ndef f(x: List[int], y: int = 3) -> List[float]:\n    return x\n",
    "from typing import *\ndef f(x: Optional[Dict[str, Tuple[int, ...]]]) -> Any:\n    pass\n",
    "import typing as t\ndef f(x: t.List['Tree'] | None) -> 'Tree': pass\n",
    "from collections.abc import Iterable\ndef f(x: Iterable[int]) -> list[int | None]: return [*x]\n",
    "import math, re\nfrom collections import Counter\ndef f(n: int) -> str:\n    total: int = n\n    return total\n",
    "if __name__ == '__main__':\n    print(input())\n",
    "def f(:\n",
    "def f():\n    return 'sys.argv'\n",
]
OTHERWISE = [
    "def f(x: List[int]): pass\n",
    "def f(x: int) -> Optional[int]: pass\n",
    "def f(x: List[int]): pass\nfrom typing import List\n",
    "from typing import List\ndef f(x: List[int, int]): pass\n",
    "from typing import List\nList = 3\ndef f(x: List[int]): pass\n",
    "class Node:\n    def child(self) -> Node: ...\n",
    "class Node:\n    x: Missing = 1\n",
    "def f(x: print('seen')): pass\n",
    "def f(x: np.ndarray): pass\n",
    "def f(x: 1 / 0): pass\n",
    "import sys\nsys.setrecursionlimit(10 ** 6)\n",
    "from os import getcwd\n",
    "def f():\n    exit()\n",
    "def f():\n    try:\n        return f()\n    except RecursionError:\n        return 1\n",
    "import importlib.util\n",
    "def f():\n    return __import__('codec')\n",
    "\ufeffdef f(): pass\n",
]


@pytest.mark.parametrize("program", ALIKE)
def test_alike(program: str) -> None:
    assert run_alike(program, "")
    assert not run_alike(program, "RecursionError: maximum recursion depth exceeded") or program == "def f(:\n"


@pytest.mark.parametrize("program", OTHERWISE)
def test_perhaps_otherwise(program: str) -> None:
    assert not run_alike(program, "")


def test_references_are_alike() -> None:
    programs = [row.prompt + row.fields["canonical_solution"] for row in problem_rows("humaneval")]
    assert sum(run_alike(program, "") for program in programs) > 155
