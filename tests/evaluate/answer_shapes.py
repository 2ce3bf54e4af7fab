"""Two hundred ways in which instruct models put a right program into an answer, written for these tests."""

from __future__ import annotations

import html
import json
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

FENCE = "```"


@dataclass(frozen=True)
class Solution:
    """A function as a benchmark asks for it: ``prompt`` is what comes before its ``body``, imports and helpers included."""

    prompt: str
    body: str
    entry_point: str

    @property
    def whole(self) -> str:
        return f"{self.prompt}{self.body.rstrip()}\n"

    @property
    def stub(self) -> str:
        return self.prompt.rstrip() + "\n"


Shape = Callable[[Solution], str]
SHAPES: dict[str, Shape] = {}


def fenced(code: str, language: str = "python", fence: str = FENCE) -> str:
    return f"{fence}{language}\n{code.rstrip()}\n{fence}\n"


def indented(text: str, by: str = "    ") -> str:
    return textwrap.indent(text, by)


def add(name: str, shape: Shape) -> None:
    assert name not in SHAPES, name
    SHAPES[name] = shape


# One block, in each of the ways to mark it.
for _tag in (
    "python",
    "Python",
    "PYTHON",
    "py",
    "Py",
    "python3",
    "Python3",
    "python3.11",
    "",
    " python",
    "{.python}",
    "{python}",
    'python title="solution.py"',
    "python:solution.py",
    "ipython",
    "python copy",
    "python\t",
    "text",
    "plaintext",
    "code",
):
    add(f"tag {_tag!r}", lambda s, tag=_tag: f"Here is the function:\n\n{fenced(s.whole, tag)}\nIt works.")
for _mark in ("~~~", "````", "~~~~"):
    add(f"fence {_mark}", lambda s, mark=_mark: f"Sure!\n\n{fenced(s.whole, 'python', mark)}")
    add(f"fence {_mark} without a tag", lambda s, mark=_mark: f"Sure!\n\n{fenced(s.whole, '', mark)}\nBye.")
add("fence alone", lambda s: fenced(s.whole))
add("fence without a last line end", lambda s: fenced(s.whole).rstrip("\n"))
add("windows line ends", lambda s: f"Here:\n{fenced(s.whole)}\nDone.\n".replace("\n", "\r\n"))
add("old mac line ends", lambda s: f"Here:\n{fenced(s.whole)}\nDone.\n".replace("\n", "\r"))
add("open fence", lambda s: f"Here:\n```python\n{s.whole}")
add("open fence, prose behind", lambda s: f"Here:\n```python\n{s.whole}\nThis function walks over the input once.\n")
add("open fence without a tag", lambda s: f"```\n{s.whole}")
add("only a closing fence", lambda s: f"{s.whole}```\n\nThis walks over the input once, so it's linear.")
add("only a closing fence and nothing behind", lambda s: f"{s.whole}```")
add("closed right behind the code", lambda s: f"```python\n{s.whole.rstrip()}```\nThat's it.")
add("closed right behind the code and blanks", lambda s: f"```python\n{s.whole.rstrip()} ```  \nThat's it.")
add("opened behind text", lambda s: f"Here is the code: ```python\n{s.whole}```\n")
add("opened behind text without a tag", lambda s: f"Here is the code: ```\n{s.whole}```\nGood luck!")
add("the language on a line of its own", lambda s: f"```\npython\n{s.whole}```\n")
add("blank lines around the code", lambda s: f"```python\n\n\n{s.whole}\n\n```\n")
add("spaces behind the fence", lambda s: f"```python   \n{s.whole}```   \n")
add("two opening fences", lambda s: f"```python\n```python\n{s.whole}```\n")
add("fence in a fence of more marks", lambda s: f"````markdown\n```python\n{s.whole}```\n````\n")
for _by in ("  ", "   ", "    ", "\t", "        "):
    add(f"block indented by {_by!r}", lambda s, by=_by: f"1. The function:\n\n{indented(fenced(s.whole), by)}\n2. Done.\n")
add("only the fence indented", lambda s: f"   ```python\n{s.whole}   ```\n")
add("code indented in the fence", lambda s: f"```python\n{indented(s.whole)}```\n")
add("code and fence indented differently", lambda s: f"  ```python\n{indented(s.whole)}  ```\n")
add("in a quotation", lambda s: "".join(f"> {line}\n" for line in fenced(s.whole).splitlines()))
add("in a quotation without blanks", lambda s: "".join(f">{line}\n" for line in fenced(s.whole).splitlines()))
add("in a list", lambda s: f"- ```python\n{indented(s.whole, '  ')}  ```\n")
add("in a numbered list", lambda s: f"1. ```python\n{indented(s.whole, '   ')}   ```\n2. Run it.\n")

# Prose before, behind and between.
for _number, (_before, _behind) in enumerate(
    [
        (
            "Certainly! Here's a Python function that does what you've asked for.",
            "I hope this helps! Let me know if you have any questions.",
        ),
        ("### Solution\n\n**Approach**: iterate once.", "### Complexity\n\n- Time: `O(n)`\n- Space: `O(1)`"),
        ("def solve it like so: we loop, and then we return.", "from there on it is easy: import it and call it."),
        (
            "Let's think step by step.\n\n1. Read the input.\n2. Return the output.\n\nFinal answer:",
            "**Explanation:**\nThe loop's bound is `n - 1`.",
        ),
        ("您好，下面是代码：", "以上代码实现了所需的功能。"),
        ("| input | output |\n|---|---|\n| 1 | 2 |\n", "<details><summary>Why?</summary>Because it's right.</details>"),
        ("I use `x = 1` and ``y = 2`` here.", "Use ```inline code``` with care."),
        ('It doesn\'t use """ anywhere.', "It isn't '''special'''."),
        ("Assistant: ", "<|im_end|>"),
        ("<|assistant|>\n", "</s>"),
    ]
):
    add(f"prose {_number}", lambda s, a=_before, b=_behind: f"{a}\n\n{fenced(s.whole)}\n{b}\n")
    add(f"prose {_number} and no tag", lambda s, a=_before, b=_behind: f"{a}\n\n{fenced(s.whole, '')}\n{b}\n")

# More than one block.
QUOTED = "You gave me this function to complete:\n\n"
for _tag in ("python", ""):
    _kind = f"tag {_tag!r}"
    add(f"task quoted first, {_kind}", lambda s, t=_tag: f"{QUOTED}{fenced(s.stub, t)}\nHere it is:\n\n{fenced(s.whole, t)}")
    add(
        f"stub with pass first, {_kind}",
        lambda s, t=_tag: f"{QUOTED}{fenced(s.stub + '    pass', t)}\nSo:\n\n{fenced(s.whole, t)}",
    )
    add(
        f"stub with dots behind, {_kind}",
        lambda s, t=_tag: f"{fenced(s.whole, t)}\nI began with:\n{fenced(s.stub + '    ...', t)}",
    )
    add(
        f"usage behind, {_kind}",
        lambda s, t=_tag: f"{fenced(s.whole, t)}\nUsage:\n{fenced(f'print({s.entry_point}(1, 2, 3))', t)}",
    )
    add(
        f"usage before, {_kind}",
        lambda s, t=_tag: f"To be called as:\n{fenced(f'{s.entry_point}(None)', t)}\nCode:\n{fenced(s.whole, t)}",
    )
    add(f"output behind, {_kind}", lambda s, t=_tag: f"{fenced(s.whole, t)}\nOutput:\n{fenced('[1, 2, 3]', '')}")
    add(
        f"tests behind, {_kind}",
        lambda s, t=_tag: f"{fenced(s.whole, t)}\nTests:\n{fenced(f'assert {s.entry_point}() == 5', t)}",
    )
    add(f"imports apart, {_kind}", lambda s, t=_tag: f"Imports:\n{fenced('import math, re', t)}\nCode:\n{fenced(s.whole, t)}")
    add(
        f"helper apart before, {_kind}",
        lambda s, t=_tag: f"{fenced(f'def helper_of_mine():{chr(10)}    return 1', t)}\nNow:\n{fenced(calling_helper(s), t)}",
    )
    add(
        f"helper apart behind, {_kind}",
        lambda s, t=_tag: f"{fenced(calling_helper(s), t)}\nwith\n{fenced(f'def helper_of_mine():{chr(10)}    return 1', t)}",
    )
    add(f"twice, {_kind}", lambda s, t=_tag: f"{fenced(s.whole, t)}\nOnce more, in full:\n{fenced(s.whole, t)}")
    add(
        f"draft first, {_kind}",
        lambda s, t=_tag: f"First try:\n{fenced(wrong(s), t)}\nThat is wrong. Corrected:\n{fenced(s.whole, t)}",
    )
for _tag, _line in (
    ("bash", "pip install numpy"),
    ("sh", "python solution.py"),
    ("", "pip install numpy"),
    ("python", "pip install numpy"),
    ("python", "!pip install numpy"),
    ("python", "%matplotlib inline"),
    ("console", "$ python -m pytest"),
    ("json", '{"a": 1}'),
):
    add(f"{_line!r} in {_tag!r} first", lambda s, t=_tag, x=_line: f"First:\n{fenced(x, t)}\nThen:\n{fenced(s.whole)}")
    add(f"{_line!r} in {_tag!r} behind", lambda s, t=_tag, x=_line: f"{fenced(s.whole)}\nThen:\n{fenced(x, t)}")
add(
    "another language first",
    lambda s: f"In JavaScript:\n{fenced('function f(x) { return x; }', 'javascript')}\nIn Python:\n{fenced(s.whole)}",
)
add("another language behind", lambda s: f"{fenced(s.whole)}\nIn C:\n{fenced('int f(int x) { return x; }', 'c')}")
add("pseudocode first", lambda s: f"Plan:\n{fenced('for each item: look at it', '')}\nCode:\n{fenced(s.whole)}")
add("three blocks", lambda s: f"{fenced('pip install x', 'bash')}\n{fenced(s.stub)}\n{fenced(s.whole)}\n{fenced('42', 'text')}")
add("prompt and body apart", lambda s: f"Signature:\n{fenced(s.stub)}\nBody:\n{fenced(s.body)}")


def calling_helper(s: Solution) -> str:
    calling = f"def {s.entry_point}(*args):\n    assert helper_of_mine() == 1\n    return _right(*args)\n"
    return f"{s.whole}\n_right = {s.entry_point}\n\n\n{calling}"


def wrong(s: Solution) -> str:
    return f"def {s.entry_point}(*args):\n    return 'wrong'\n"


# What else stands in the block.
MAIN = '\n\nif __name__ == "__main__":\n'
add("main guard", lambda s: fenced(f"{s.whole}{MAIN}    print({s.entry_point}())"))
add("main guard with a failing call", lambda s: fenced(f"{s.whole}{MAIN}    raise SystemExit({s.entry_point}())"))
add("doctest in the main guard", lambda s: fenced(f"{s.whole}{MAIN}    import doctest\n    doctest.testmod()"))
add("failing assertion behind", lambda s: fenced(f"{s.whole}\n\nassert {s.entry_point}() == 'no'"))
add("failing call behind", lambda s: fenced(f"{s.whole}\n\n# Example usage\nprint({s.entry_point}(1, 2, 3, 4, 5, 6, 7))"))
add("failing result behind", lambda s: fenced(f"{s.whole}\n\nresult = {s.entry_point}(1, 2, 3, 4, 5, 6, 7)\nprint(result)"))
add("loop over cases behind", lambda s: fenced(f"{s.whole}\n\nfor case in [1, 2]:\n    print({s.entry_point}(*[case] * 9))"))
add("input behind", lambda s: fenced(f"{s.whole}\n\nn = int(input('n: '))\nprint({s.entry_point}(n))"))
add("exit behind", lambda s: fenced(f"{s.whole}\n\nexit()"))
add(
    "test function in the block",
    lambda s: fenced(f"{s.whole}\n\ndef test_it():\n    assert {s.entry_point}() == 5\n\n\ntest_it()"),
)
add(
    "test class in the block",
    lambda s: fenced(
        f"import unittest\n{s.whole}\n\nclass TestIt(unittest.TestCase):\n    def test(self):\n        {s.entry_point}()\n"
    ),
)
add(
    "check function and call",
    lambda s: fenced(f"{s.whole}\n\ndef check(candidate):\n    assert candidate() == 5\n\n\ncheck({s.entry_point})"),
)
add("future import", lambda s: fenced(f"from __future__ import annotations\n\n{s.whole}"))
add("future import behind a docstring", lambda s: fenced(f'"""A module."""\nfrom __future__ import annotations\n\n{s.whole}'))
add("encoding line", lambda s: fenced(f"# -*- coding: utf-8 -*-\n{s.whole}"))
add("shebang", lambda s: fenced(f"#!/usr/bin/env python3\n{s.whole}"))
add("comment before", lambda s: fenced(f"# solution.py\n\n{s.whole}"))
add("byte order mark", lambda s: f"```python\n\ufeff{s.whole}```")
add("byte order mark before all", lambda s: "\ufeff" + fenced(s.whole))
add("no-break spaces", lambda s: fenced(s.whole.replace("    ", "\u00a0\u00a0\u00a0\u00a0")))
add("tabs", lambda s: fenced(re.sub("^ +", lambda found: "\t" * len(found[0]), s.whole, flags=re.MULTILINE)))
add("fence in the docstring", lambda s: fenced(with_fence_in_docstring(s)))
add("tagged fence in the docstring", lambda s: fenced(with_fence_in_docstring(s, "python")))
add("fence in a comment", lambda s: fenced(f"# It is used so:\n# ```\n# {s.entry_point}()\n# ```\n{s.whole}"))
add("fence in a string", lambda s: fenced(f"MARK = '```'\n{s.whole}"))
add(
    "mark of examples in the docstring",
    lambda s: fenced(f'def unused():\n    """# Example usage\n    # Test examples"""\n\n\n{s.whole}'),
)
add("constants before", lambda s: fenced(f"LIMIT = 10\nNAMES: list[str] = []\n{s.whole}"))
add("recursion limit", lambda s: fenced(f"import sys\nsys.setrecursionlimit(10_000)\n{s.whole}"))
add("class before", lambda s: fenced(f"class Node:\n    def __init__(self):\n        self.next = None\n\n\n{s.whole}"))
add("memoised behind", lambda s: fenced(f"{s.whole}\n\n_kept = {s.entry_point}\n{s.entry_point} = lambda *a: _kept(*a)"))
DECORATOR = "import functools\n\n\ndef plain(f):\n    return functools.wraps(f)(lambda *a: f(*a))\n\n\n"
add("decorated", lambda s: fenced(f"{DECORATOR}{s.whole}\n\n{s.entry_point} = plain({s.entry_point})"))
add("prose in the block", lambda s: f"```python\n{s.whole}\n\nExplanation: it's a loop.\n```\n")
add("prose before the code in the block", lambda s: f"```\nHere's the function:\n\n{s.whole}```\n")


def with_fence_in_docstring(s: Solution, tag: str = "") -> str:
    note = f'def note():\n    """Use it like this:\n\n    ```{tag}\n    {s.entry_point}()\n    ```\n    """\n\n\n'
    return note + s.whole


# Thinking.
DRAFT = "Maybe so:\n```python\ndef {0}(*args):\n    return 'wrong'\n```\nNo, that's wrong.\n"
for _open, _close in (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
):
    add(f"{_open} first", lambda s, a=_open, b=_close: f"{a}\n{DRAFT.format(s.entry_point)}{b}\n\n{fenced(s.whole)}")
    add(f"{_open} first, no fence behind", lambda s, a=_open, b=_close: f"{a}\n{DRAFT.format(s.entry_point)}{b}\n\n{s.whole}")
add("lone </think>", lambda s: f"{DRAFT.format(s.entry_point)}</think>\n\n{fenced(s.whole)}")
add("empty thinking", lambda s: f"<think>\n\n</think>\n\n{fenced(s.whole)}")
add(
    "thinking with an open fence",
    lambda s: f"<think>\n```python\ndef {s.entry_point}(*a):\n    return 'wrong'\n</think>\n\n{fenced(s.whole)}",
)
add("all within the thinking", lambda s: f"<think>\nI answer:\n{fenced(s.whole)}</think>\n")
add("thinking that is never closed", lambda s: f"<think>\nI answer:\n{fenced(s.whole)}")
add("answer tags", lambda s: f"<answer>\n{fenced(s.whole)}</answer>\n")
add("answer tags without a fence", lambda s: f"<answer>\n{s.whole}</answer>\n")

# Without a fence.
add("bare", lambda s: s.whole)
add("bare, prose behind", lambda s: f"{s.whole}\nThis function is right, isn't it?\n")
add("bare, prose before", lambda s: f"Here's the completed function:\n\n{s.whole}")
add("bare, prose around", lambda s: f"Certainly! Here's the code.\n\n{s.whole}\n\nLet me know if it's what you need!\n")
add("bare, one word behind", lambda s: f"{s.whole}\nDone\n")
add("bare, a label behind", lambda s: f"{s.whole}\nOutput: 3\n")
add("bare, usage behind", lambda s: f"{s.whole}\nprint({s.entry_point}(1, 2, 3, 4, 5, 6, 7))\n")
add(
    "bare, helper and prose between",
    lambda s: f"A helper:\n\ndef helper_of_mine():\n    return 1\n\nAnd the function:\n\n{calling_helper(s)}\nThat's all.\n",
)
add("bare and indented", lambda s: f"The function:\n\n{indented(s.whole)}\nThat's all.\n")
add("body alone", lambda s: s.body)
add("body alone, prose behind", lambda s: f"{s.body.rstrip()}\n\nThat's the missing part.\n")
add("body alone in a fence", lambda s: f"Add this:\n{fenced(s.body)}")
add("body alone in a fence without a tag", lambda s: f"Add this:\n{fenced(s.body, '')}Done.")
add("body alone without indent in a fence", lambda s: fenced(textwrap.dedent(s.body)))
add("[PYTHON]", lambda s: f"[PYTHON]\n{s.whole}[/PYTHON]\n[TESTS]\nnone\n[/TESTS]\n")
add("<code>", lambda s: f"<code>\n{s.whole}</code>\n")
add("<code> on the line of the code", lambda s: f"Here: <code>{s.whole.rstrip()}</code> That's it.")
add("<pre> and escapes", lambda s: f'<pre><code class="language-python">{html.escape(s.whole)}</code></pre>')
add("escapes in a fence", lambda s: fenced(html.escape(s.whole)))
add("JSON", lambda s: json.dumps({"code": s.whole, "explanation": "It's a loop."}))
add("JSON in a fence", lambda s: fenced(json.dumps({"language": "python", "code": s.whole}, indent=1), "json"))
add(
    "interpreter's prompts",
    lambda s: fenced(
        "".join(f"{'>>>' if n == 0 else '...'} {line}\n" for n, line in enumerate(s.whole.rstrip().split("\n"))), "pycon"
    ),
)
add("JSON string", lambda s: json.dumps(s.whole))
add("JSON with open line ends", lambda s: '{"code": "' + s.whole.replace("\\", "\\\\").replace('"', '\\"') + '"}')
add("a tool call", lambda s: f"<tool_call>\n{json.dumps({'name': 'python', 'arguments': {'code': s.whole}})}\n</tool_call>")
add("interpreter's session behind the code", lambda s: fenced(f"{s.whole}\n>>> {s.entry_point}\n<function {s.entry_point}>"))
add("reads its input", lambda s: fenced(f"import sys\n{s.whole}\ndata = sys.stdin.read().split()\nn = int(data[0])\nprint(n)"))
add("reads its arguments", lambda s: fenced(f"import sys\n{s.whole}\nprint({s.entry_point}(sys.argv[1]))"))
add("a main function", lambda s: fenced(f"{s.whole}\n\ndef main():\n    {s.entry_point}()\n\n\nmain()"))
add("one line in a fence of one line", lambda s: f"Use ```python add = 1``` no, this:\n{fenced(s.whole)}")
add("star import apart", lambda s: f"{fenced('from math import *')}{fenced(s.whole.replace('return ', 'floor(1.5); return '))}")
add(
    "numbered steps with code in each",
    lambda s: f"1. Imports\n   ```python\n   import math\n   ```\n2. Code\n{indented(fenced(s.whole), '   ')}",
)
for _token in ("<|im_end|>", "<|eot_id|>", "</s>", "<｜end▁of▁sentence｜>", "<|endoftext|><|endoftext|>", "<end_of_turn>"):
    add(f"bare with {_token} at its end", lambda s, t=_token: f"{s.whole.rstrip()}{t}")
    add(f"open fence with {_token} at its end", lambda s, t=_token: f"Here:\n```python\n{s.whole.rstrip()}{t}\n")
add("<|python_tag|>", lambda s: f"<|python_tag|>{s.whole}<|eom_id|>")
add("three quotes as a fence", lambda s: f"Sure:\n'''python\n{s.whole}'''\nDone.")
add("two backticks as a fence", lambda s: f"Sure:\n``python\n{s.whole}``\nDone.")
add("code on the line of the fence", lambda s: f"```python {s.whole.lstrip()}```\n")
add("a blank before all", lambda s: f" {s.whole}")
add(
    "fence begun by the prompt, example behind",
    lambda s: f"{s.whole}```\n\nExample:\n\n```python\nprint({s.entry_point}(1))\n```\n",
)
add("signature begun by the prompt", lambda s: f"{s.body.rstrip()}\n```\n\nThis is the body, which doesn't need more.\n")
