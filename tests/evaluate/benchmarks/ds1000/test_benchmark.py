"""DS-1000 without its environment: the data, the prompts to the byte, and what is made of an answer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.errors import DataError
from evolcoder.evaluate.benchmarks import benchmark_named
from evolcoder.evaluate.benchmarks.base import Problem
from evolcoder.evaluate.benchmarks.ds1000.benchmark import TAILS, gap, solution_of
from evolcoder.evaluate.benchmarks.ds1000.environment import interpreter_for
from evolcoder.evaluate.extraction import extract
from evolcoder.evaluate.prompts import style_named
from evolcoder.problems.files import benchmark_rows

DS1000 = benchmark_named("ds1000")
INSERTION = benchmark_named("ds1000-insertion")
HINT = "result = ... # put solution in this variable"
GIVEN = f"A:\n<code>\nimport numpy as np\n\na = np.ones(3)\n</code>\n{HINT}\nBEGIN SOLUTION\n<code>\n"
BODY = "A:\n<code>\nimport numpy as np\nx = 1\ndef f(x=x):\n    # return the solution in this function\n    ### BEGIN SOLUTION"


@pytest.fixture(scope="module")
def problems(data_folder: Path) -> dict[int, Problem]:
    return {problem.material: problem for problem in DS1000.problems()}


def test_all_problems_by_library_and_perturbation(problems: dict[int, Problem]) -> None:
    assert list(problems) == list(range(1000))
    libraries = Counter(problem.groups["library"] for problem in problems.values())
    assert libraries == {
        "Matplotlib": 155, "Numpy": 220, "Pandas": 291, "Pytorch": 68, "Scipy": 106, "Sklearn": 115, "Tensorflow": 45,
    }  # fmt: skip
    perturbations = Counter(problem.groups["perturbation"] for problem in problems.values())
    assert perturbations == {"Origin": 452, "Semantic": 234, "Difficult-Rewrite": 162, "Surface": 152}


def test_insertion_leaves_matplotlib_out(data_folder: Path) -> None:
    problems = INSERTION.problems()
    assert len(problems) == 845
    assert all(problem.groups["library"] != "Matplotlib" for problem in problems)


def test_a_problem_is_keyed_on_its_id_and_holds_the_rows_text(problems: dict[int, Problem]) -> None:
    for row in benchmark_rows("ds1000"):
        problem = problems[row["metadata"]["problem_id"]]
        assert problem.task_id == f"DS1000/{row['metadata']['problem_id']}"
        assert (problem.prompt, problem.test) == (row["prompt"], row["code_context"])
        assert problem.canonical_solution == row["reference_code"]


@pytest.mark.parametrize("text", ["DS1000/7", "ds1000/7", "DS-1000/7", "ds1000_7", "7", "007"])
def test_a_sample_may_name_a_problem_by_its_id_alone(text: str) -> None:
    assert DS1000.task_id(text) == "DS1000/7"


@pytest.mark.parametrize("text", ["HumanEval/7", "DS1000/", "x7", "77777"])
def test_another_name_names_no_problem(text: str) -> None:
    assert DS1000.task_id(text) == text


def test_the_completion_prompt_is_the_datas_and_stops_at_its_marks(problems: dict[int, Problem]) -> None:
    style = style_named(DS1000, "base")
    assert style.stops == ("</code>", "# SOLUTION END")
    assert style.render(problems[0]) == problems[0].prompt
    assert problems[0].prompt.endswith("result = ... # put solution in this variable\nBEGIN SOLUTION\n<code>\n")
    assert problems[511].prompt.endswith("# SOLUTION START\n")


def test_the_insertion_prompt_has_the_given_code_before_and_the_code_that_follows_after(problems: dict[int, Problem]) -> None:
    prompt = style_named(INSERTION, "base").render(problems[817])
    assert prompt == f"<fim_prefix>{problems[817].prompt}<fim_suffix>\nresult = data1\n</code><fim_middle>"


def test_what_follows_is_left_out_where_it_is_the_test(problems: dict[int, Problem]) -> None:
    assert all("assert" not in gap(problem)[1] for problem in problems.values())
    assert {gap(problems[number])[1] for number in TAILS} == {"\n</code>"}


def test_the_instruction_prompts(problems: dict[int, Problem]) -> None:
    chat, wizardcoder = (style_named(DS1000, name).render(problems[511]) for name in ("chat", "wizardcoder"))
    assert chat.endswith(f"Leave the result where the problem asks for it.\n\n{problems[511].prompt.rstrip()}")
    assert wizardcoder.endswith(f"for this problem:\n{problems[511].prompt}\n\n### Response:")
    assert "\n\n\n### Instruction:\nCreate a Python script" in wizardcoder


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("Sure:\n```python\nresult = 1\n```\nDone.", "result = 1\n"),
        ("result = 1\n</code>\nEND SOLUTION", "result = 1\n"),
        ("<code>\nresult = 1\n</code>", "result = 1\n"),
        ("BEGIN SOLUTION\n<code>\nresult = 1", "result = 1\n"),
        ("plt.plot(x)\n# SOLUTION END\nplt.show()", "plt.plot(x)\n"),
        ("```\n    return 1\n    ### END SOLUTION\n```", "    return 1\n"),
        ("    result = 1\r\n    return result", "    result = 1\n    return result\n"),
    ],
)
def test_the_code_is_taken_from_an_answer(answer: str, code: str) -> None:
    assert extract("ds1000", answer) == code


@pytest.mark.parametrize(
    ("prompt", "code", "solution"),
    [
        (GIVEN, "result = a + 1\n", "result = a + 1\n"),
        (GIVEN, "import numpy as np\na = np.ones(3)\n\nresult = a + 1\n", "result = a + 1\n"),
        (GIVEN, "import numpy as np\na = np.ones(5)\nresult = a\n", "import numpy as np\na = np.ones(5)\nresult = a\n"),
        (GIVEN, "import numpy as np\nresult = a\n", "import numpy as np\nresult = a\n"),
        (BODY, "    return x + 1\n", "    return x + 1\n"),
        (BODY, "return x + 1", "    return x + 1"),
        (BODY, "def f(x):\n    y = x\n    return y\nresult = f(2)\n", "    y = x\n    return y"),
        (BODY, "import math\ndef f(x=x):\n    return math.sqrt(x)\n", "    import math\n    return math.sqrt(x)\n"),
        ("import numpy as np\nx = 1\n# SOLUTION START\n", "import numpy as np\nx = 1\nplt.plot(x)", "plt.plot(x)"),
    ],
)
def test_what_repeats_the_prompt_is_dropped(prompt: str, code: str, solution: str) -> None:
    assert solution_of(prompt, code) == solution


def test_references_are_put_in_unchanged(problems: dict[int, Problem]) -> None:
    for problem in problems.values():
        assert DS1000.program(problem, problem.canonical_solution) == problem.canonical_solution, problem.task_id


@given(st.sampled_from([GIVEN, BODY, "x = 1\n# SOLUTION START\n", ""]), st.text())
def test_no_text_makes_it_fail(prompt: str, answer: str) -> None:
    code = extract("ds1000", answer)
    assert code is None or isinstance(solution_of(prompt, code), str)


def test_without_its_environment_one_sentence_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.delenv("EVOLCODER_DS1000_ENV", raising=False)
    monkeypatch.setenv("EVOLCODER_CACHE", str(tmp_path_factory.mktemp("cache")))
    with pytest.raises(DataError, match=r"is no finished environment for DS-1000; run `evolcoder data ds1000-env`"):
        interpreter_for("Numpy")
