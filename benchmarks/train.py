"""Speed and memory of training, against a short DeepSpeed script and TRL on the same rows, in one run.

    python -m benchmarks.train [--steps 8] [--only evolcoder,evolcoder-padded,deepspeed,trl] [--folder MODEL]
    python -m benchmarks.train --gpu [--tiny] [--only starcoderbase-1b,...]     as benchmarks/train_on_gpu.py says

The work: full fine-tuning in bf16 of the embedded model, or of the model in MODEL, on Python rows of CodeAlpaca, encoded
alike for all, of at most 512 tokens, 32 a step. ``deepspeed`` is what one writes who has read its first page: ZeRO-2, rows
in random order, micro-batches of two padded rows. ``trl`` packs as its SFTTrainer does by itself. ``evolcoder-padded`` is
with ``train.packing: false``. Useful tokens are those of rows, and not of padding; their rate leaves out the first step,
whose end is given apart, counted from the start of the command. Memory is the most that any one process had, Ray's
own among them. TRL runs in a virtual environment of its own, made at the first use.
"""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from argparse import SUPPRESS
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from benchmarks.common import PEERS, parser, peer_interpreter, print_header, print_row

from evolcoder.console import Reporter
from evolcoder.embedded import embedded_model_folder
from evolcoder.records import INSTRUCTION_SCHEMA, Instruction
from evolcoder.run.folder import RunFolder
from evolcoder.settings.files import load_settings
from evolcoder.storage.arrow_files import arrow_bytes
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Stage
from evolcoder.train.encode import EncodedRow, encode
from evolcoder.train.identity import train_stage
from evolcoder.train.launch import train

LENGTH = 512
BATCH = 32
MICRO = 2
PACKAGES = {"trl": ["torch<2.14", "trl==1.16.0", "accelerate"]}
METRICS = "runs/bench/train/1/metrics.jsonl"
NAMES = ["evolcoder", "evolcoder-padded", "deepspeed", "trl"]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--steps", type=int, default=8)
    arguments.add_argument("--only")
    arguments.add_argument("--folder", type=Path, help="the embedded model when left out")
    arguments.add_argument("--gpu", action="store_true", help="random models of real shapes, on one GPU")
    arguments.add_argument("--tiny", action="store_true", help="of those a rehearsal on a CPU, with tiny shapes")
    arguments.add_argument("--run", type=Path, help=SUPPRESS)
    given = arguments.parse_args()
    if given.gpu:
        from benchmarks.train_on_gpu import measure_all

        measure_all(given.only.split(",") if given.only else None, given.tiny)
        return
    if given.run is not None:
        _train(given.run)
        return
    print_header("", "steps", "useful tokens/s", "padding", "first step after", "peak memory of one process", "last loss")
    rates = {}
    with tempfile.TemporaryDirectory() as place:
        model = given.folder or embedded_model_folder()
        rows = _rows(model, given.steps * BATCH)
        for name in given.only.split(",") if given.only else NAMES:
            found, peak_bytes = _measure(name, model, rows, given.steps, Path(place) / name)
            steps = found["steps"][1:]
            rates[name] = sum(step["useful"] for step in steps) / sum(step["seconds"] for step in steps)
            padding = 1 - sum(step["useful"] for step in steps) / sum(step["whole"] for step in steps)
            first, loss = found["first_step_seconds"], found["steps"][-1].get("loss")
            print_row(
                name, len(found["steps"]), f"{rates[name]:.0f}", f"{100 * padding:.1f} %", f"{first:.0f} s",
                f"{peak_bytes / 1e9:.1f} GB", "-" if loss is None else f"{loss:.3f}",
            )  # fmt: skip
    for name in list(rates)[1:]:
        print(f"\n{next(iter(rates))}'s rate is {rates[next(iter(rates))] / rates[name]:.2f} times that of {name}.")


def _rows(model: Path, count: int) -> list[tuple[str, str, str]]:
    """Rows of CodeAlpaca that say Python, the first ``count``."""
    data = Path(os.environ.get("EVOLCODER_DATA", "data")) / "codealpaca/new_codealpaca.json.gz"
    with gzip.open(data, "rt", encoding="utf-8") as stream:
        found = json.load(stream)
    python = [row for row in found if "python" in row["instruction"].lower()]
    return [(row["instruction"], row["input"], row["output"]) for row in python[:count]]


def _measure(name: str, model: Path, rows: Sequence[tuple[str, str, str]], steps: int, place: Path) -> tuple[Any, int]:
    place.mkdir()
    out = place / "out.json"
    if name.startswith("evolcoder"):
        train = {"max_steps": steps, "global_batch_size": BATCH, "sequence_length": LENGTH, "packing": name == "evolcoder"}
        command = evolcoder_command(model, rows, place, train)
    else:
        write_encoded(model, rows, LENGTH, place / "rows.jsonl")
        python = str(peer_interpreter(PACKAGES[name])) if name in PACKAGES else sys.executable
        command = [python, str(PEERS / f"{name}_run.py"), str(model), str(place / "rows.jsonl")]
        command += [str(steps), str(BATCH), str(LENGTH if name == "trl" else MICRO), str(out)]
    started = time.time()
    peak = run_watched(name, command, place)
    if not name.startswith("evolcoder"):
        return json.loads(out.read_text("utf-8")), peak
    return evolcoder_steps(place, started), peak


def run_watched(name: str, command: Sequence[str], place: Path, is_over: Callable[[], bool] = lambda: False) -> int:
    """Run a command to its end, or until it ``is_over`` and ends by Ctrl-C; the most memory of any one of its processes."""
    peak = [0]
    with (
        open(place / "log", "wb") as log,
        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        watcher = threading.Thread(target=_watch, args=(process.pid, peak), daemon=True)
        watcher.start()
        while process.poll() is None and not is_over():
            time.sleep(0.2)
        stopped = process.poll() is None
        if stopped:
            process.send_signal(signal.SIGINT)
        process.wait()
    watcher.join()
    if process.returncode != 0 and not stopped:
        sys.exit(f"{name} failed:\n{(place / 'log').read_text()[-3000:]}")
    return peak[0]


def evolcoder_steps(place: Path, started: float) -> dict[str, Any]:
    """What its metrics say, as a peer says it."""
    metrics = [json.loads(line) for line in (place / METRICS).read_text("utf-8").splitlines()]
    measured = [row | {"useful": row["tokens"], "whole": row["tokens"] / (1 - row["padding"])} for row in metrics]
    return {"first_step_seconds": metrics[0]["ended_at"] - started, "steps": measured}


def write_encoded(model: Path, rows: Sequence[tuple[str, str, str]], length: int, file: Path) -> list[EncodedRow]:
    """The rows as a peer reads them."""
    from transformers import AutoTokenizer

    encoded = encode(rows, AutoTokenizer.from_pretrained(model), length).rows
    texts = (json.dumps({"tokens": row.tokens, "prompt_tokens": row.prompt_tokens}) for row in encoded)
    file.write_text("\n".join(texts) + "\n", "utf-8")
    return encoded


def evolcoder_command(model: Path, rows: Sequence[tuple[str, str, str]], place: Path, train: Mapping[str, Any]) -> list[str]:
    """The command, once there is a run with a training set of these rows."""
    dataset = Folder.open(place / "runs/bench/dataset").make()
    made = [
        Instruction(f"id{n}", 0, None, f"id{n}", "seed", *row, "t", "s", 1, 1, [], "kept", None).to_row()
        for n, row in enumerate(rows)
    ]
    dataset.write_bytes("train-00000.arrow", arrow_bytes(made, INSTRUCTION_SCHEMA))
    Stage("dataset", dataset, {}).publish(["train-00000.arrow"])
    alike = {"base_model": str(model), "precision": "bf16", "learning_rate": 1e-5, "warmup_steps": 0, "schedule": "constant"}
    settings = {"name": "bench", "storage": str(place / "runs"), "evolve": {"rounds": 1}, "train": {**alike, **train}}
    (place / "run.yaml").write_text(json.dumps(settings), "utf-8")
    return [sys.executable, "-m", "benchmarks.train", "--run", str(place / "run.yaml")]


def _train(file: Path) -> None:
    """What `evolcoder train` does, but for the rounds that the training set was merged from: there are none."""
    settings = load_settings(file)
    run, base = RunFolder.open(settings), Path(settings.train.base_model)
    stage = train_stage(settings, run, (), Stage("dataset", run.dataset, {}), lambda: "benchmark")
    train(settings, run, stage, base, Reporter("plain"))


def _watch(pid: int, peak: list[int]) -> None:
    root = psutil.Process(pid)
    while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
        try:
            for one in [root, *root.children(recursive=True)]:
                peak[0] = max(peak[0], one.memory_info().rss)  # what counts more exactly stops the process meanwhile
        except psutil.Error:
            continue  # one ended in between
        time.sleep(1.0)


if __name__ == "__main__":
    main()
