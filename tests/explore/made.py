"""A small run, made by hand in the layout that the stages write; what models wrote in it is as hostile as it can be."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from evolcoder.console import Reporter
from evolcoder.explore.postings import ALPHABET
from evolcoder.explore.server import HOST, PageServer
from evolcoder.records import COMPLETION_SCHEMA, INSTRUCTION_SCHEMA, VERDICT_SCHEMA, Completion, Instruction, Verdict
from evolcoder.run.folder import RunFolder
from evolcoder.settings.run import RunSettings
from evolcoder.storage.arrow_files import arrow_bytes
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Stage, verified_manifest

HOSTILE = [
    "<script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 2'>",
    "</script><script>window.ran = 3</script>",
    "\u2028window.ran = 4\u2029//",
    "'\"`${window.ran = 5}\\",
    "<svg/onload=window.ran=6><iframe srcdoc='<script>parent.ran=7</script>'>",
    "javascript:window.ran=8 [a](javascript:window.ran=9)",
    "__proto__ constructor",
    "w" * 4000,
    "\u202egnp.exe \u2067\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u4e8c\u5206\u63a2\u7d22\u3092\u66f8\u304f",
]
"""Each would show in ``window.ran``, in a request or in the layout."""

ODD_ROOT = "~/../odd?#%25 x"
TASKS = ["HumanEval/0", "HumanEval/1", "HumanEval/2", "HumanEval/10", "Odd/../<b> &?#%25 5"]


def made_settings(storage: str, rounds: int = 2) -> RunSettings:
    return RunSettings.model_validate(
        {"name": "made", "storage": storage, "evolve": {"rounds": rounds}, "study": {"base_rounds": [0]}}
    )


def instruction(row_id: str, root: str, number: int, text: str, **changes: Any) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "id": row_id,
        "round": number,
        "parent_id": None if number == 0 else f"{root}-{number - 1}",
        "root_id": root,
        "operator": "seed" if number == 0 else "constraints",
        "instruction": text,
        "input": "",
        "response": f"```python\nprint({number})\n```",
        "teacher": "teacher",
        "sampling": "{}",
        "prompt_tokens": 1,
        "completion_tokens": 1,
        "request_keys": [],
        "status": "kept",
        "reason": None,
    }
    return Instruction(**(wanted | changes)).to_row()


def write_round(run: RunFolder, number: int, rows: Sequence[Mapping[str, Any]], **findings: Any) -> None:
    """Its shards, its findings, and a manifest that vouches for them."""
    folder = run.round(number)
    stage = Stage(f"round {number:02d}", folder, {})
    stage.begin("*.arrow", "*.json")
    for name, status in (("part-00000.arrow", "kept"), ("rejected-00000.arrow", "eliminated")):
        chosen = sorted((row for row in rows if row["status"] == status), key=lambda row: str(row["root_id"]))
        if chosen:
            folder.write_bytes(name, arrow_bytes(chosen, INSTRUCTION_SCHEMA, 2))
    folder.write_text("duplicates.json", json.dumps({"duplicates": findings.get("duplicates", [])}))
    folder.write_text("contamination.json", json.dumps({"hits": findings.get("hits", [])}))
    stage.publish(folder.names())


def write_evaluation(folder: Folder, statuses: Mapping[str, Sequence[str]], text: str = "answer") -> None:
    """``statuses`` of each problem's samples; the samples of all problems come one after another, as evaluate writes them."""
    keys = [(task, sample) for sample in range(max(map(len, statuses.values()))) for task in statuses]
    answers = [Completion(task, sample, f"Solve {task}", f"{text} {sample}", "stop", 1, 2).to_row() for task, sample in keys]
    verdicts = [
        Verdict(task, sample, status, status, None, "detail", f"program of {task}", 0.1, 0.2).to_row()  # type: ignore[arg-type]
        for task, sample in keys
        for status in [statuses[task][sample]]
    ]
    stage = Stage("evaluate", folder, {})
    stage.begin()
    folder.write_bytes("completions.arrow", arrow_bytes(answers, COMPLETION_SCHEMA))
    folder.write_bytes("verdicts.arrow", arrow_bytes(verdicts, VERDICT_SCHEMA))
    passed = sum(of[0] == "passed" for of in statuses.values()) / len(statuses)
    score = {"model": "a model", "value": passed, "interval": [passed / 2, (1 + passed) / 2], "interval_method": "Wilson"}
    counted = {"k": 1, "samples": len(next(iter(statuses.values()))), "tasks": len(statuses)}
    folder.write_text("score.json", json.dumps(score | counted | {"style": "base", "benchmark_version": "v"}))
    stage.publish(folder.names())


def make_run(settings: RunSettings) -> RunFolder:
    """Two seeds with what became of them, one eliminated for each kind of evidence, hostile ones; three models."""
    run = RunFolder.open(settings)
    hostile = [instruction(f"hostile{i:02d}-0", f"hostile{i:02d}", 0, text, response=text) for i, text in enumerate(HOSTILE)]
    write_round(
        run,
        0,
        [
            instruction("a-0", "a", 0, "Sort a list of numbers.", input="[31, 17, 22]"),
            instruction("b-0", "b", 0, "Count the vowels of a word in JavaScript.", response="let n = 0"),
            instruction("c-0", "c", 0, "Sort a list of number.", status="eliminated", reason="duplicate"),
            *hostile,
            instruction(f"{ODD_ROOT}-0", ODD_ROOT, 0, "Nothing odd."),
        ],
        duplicates=[{"row_id": "c-0", "duplicate_of": "a-0", "kind": "near", "similarity": 0.91}],
    )
    write_round(
        run,
        1,
        [
            instruction("a-1", "a", 1, "Sort a list of numbers in place, without the built-in sort."),
            instruction("b-1", "b", 1, "Return the numbers above zero.", status="eliminated", reason="contaminated"),
        ],
        hits=[
            {
                "row_id": "b-1",
                "benchmark": "humaneval",
                "task_id": "HumanEval/10",
                "rule": "exact",
                "evidence": HOSTILE[0] + " \ud800",
            }
        ],
    )
    write_round(run, 2, [instruction("a-2", "a", 2, "Sort.", status="eliminated", reason="truncated_response", response="")])
    passes = {"base": "01000", "tuned": "11100", "rounds-0": "00010"}
    for model, bits in passes.items():
        statuses = {task: ["passed" if bit == "1" else "failed"] for task, bit in zip(TASKS, bits, strict=True)}
        write_evaluation(run.evaluation(model, "humaneval"), statuses, "\n".join(HOSTILE))
    return run


def decode(text: str) -> list[int]:
    """The rows of which ``postings.encode`` made this text, as the pages read them."""
    rows, row, gap, shift = [], -1, 0, 0
    for sign in text:
        digit = ALPHABET.index(sign)
        gap |= (digit & 31) << shift
        shift += 5
        if digit < 32:
            row += gap + 1
            rows.append(row)
            gap = shift = 0
    return rows


def quiet() -> Reporter:
    return Reporter("plain", io.StringIO())


@contextmanager
def served(folder: Folder) -> Iterator[str]:
    """The address of a folder of pages while the block lasts."""
    manifest = verified_manifest(folder)
    assert manifest is not None
    with PageServer(folder, 0) as server:
        server.show(manifest)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
