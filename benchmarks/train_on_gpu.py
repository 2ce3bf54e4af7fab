"""Training on one GPU beside a short DeepSpeed script, with random weights of real models' shapes, made there.

    python -m benchmarks.train --gpu [--tiny] [--only starcoderbase-1b,...]

It needs no network: the tokenizer is the embedded model's, from its package or from the folder that EVOLCODER_TOKENIZER names.
Each row is 2,048 tokens long, but for those of ``-short``, which are as long as evolved instructions with their responses. The
script does what one writes who knows what fits: the largest micro-batch, activations kept where they fit, rows of like length
side by side. evolcoder is left to choose, and is ended when its last step is. MFU is what ``train/shape.py`` counts for useful
tokens over the card's peak in bf16. The weights take up to 32 GB in TMPDIR. ``--tiny`` rehearses on a CPU, on tiny shapes.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common import PEERS, print_header, print_row
from benchmarks.train import METRICS, evolcoder_command, evolcoder_steps, run_watched, write_encoded

from evolcoder.embedded import embedded_model_folder
from evolcoder.settings.run import TrainSettings
from evolcoder.train.model_size import read_shape
from evolcoder.train.shape import peak_flops, step_flops

LENGTH = 2048
BIGCODE = {"n_positions": 8192, "multi_query": True, "attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}

ONE_BILLION = {"n_embd": 2048, "n_layer": 24, "n_head": 16}


@dataclass(frozen=True)
class Work:
    """``micro`` and ``recompute`` are the script's; a step has ``batch`` rows."""

    kind: str
    config: dict[str, Any]
    batch: int
    micro: int
    recompute: bool = False
    rank: int = 0
    short: bool = False


WORKS = {
    "starcoderbase-1b": Work("gpt_bigcode", {**BIGCODE, **ONE_BILLION}, 64, 4),
    "starcoderbase-1b-short": Work("gpt_bigcode", {**BIGCODE, **ONE_BILLION}, 256, 16, short=True),
    "qwen2.5-coder-1.5b": Work(
        "qwen2",
        {
            "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
            "num_key_value_heads": 2, "vocab_size": 151936, "max_position_embeddings": 8192, "tie_word_embeddings": True,
        },
        64,
        4,
    ),
    "starcoderbase-3b": Work("gpt_bigcode", {**BIGCODE, "n_embd": 2816, "n_layer": 36, "n_head": 22}, 32, 4, recompute=True),
    "starcoder-15b-lora": Work(
        "gpt_bigcode", {**BIGCODE, "n_embd": 6144, "n_layer": 40, "n_head": 48}, 16, 4, recompute=True, rank=16
    ),
}  # fmt: skip
TINY = {"n_embd": 64, "n_layer": 2, "n_head": 4} | {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip
STEPS = 5


def measure_all(names: Sequence[str] | None, tiny: bool) -> None:
    import torch

    card = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    if card is None and not tiny:
        sys.exit("There is no GPU here; --tiny rehearses on a CPU.")
    print(f"{card or 'no GPU'}, torch {torch.__version__}\n")
    print_header("model", "", "parameters", "steps", "useful tokens/s", "padding", "MFU", "GPU memory", "first step after")
    for name in names or WORKS:
        with tempfile.TemporaryDirectory() as place:
            _measure(name, WORKS[name], Path(place), card, tiny)


def _measure(name: str, work: Work, place: Path, card: str | None, tiny: bool) -> None:
    model = place / "model"
    subprocess.run([sys.executable, "-m", "benchmarks.train_on_gpu", name, model, str(int(tiny))], check=True)
    batch = 4 if tiny else work.batch
    rows = _rows(STEPS * batch, work.short)
    encoded = write_encoded(model, rows, LENGTH, place / "rows.jsonl")
    train: dict[str, Any] = {"max_steps": STEPS, "global_batch_size": batch, "sequence_length": LENGTH}
    train |= {"lora": {"rank": work.rank}} if work.rank else {}
    shape = read_shape(model, TrainSettings.model_validate(train))
    assert shape is not None
    # All rows of a work are alike enough for what one step's attention does to be the mean of all steps'.
    lengths = [len(row.tokens) for row in encoded]
    flops = step_flops(shape, lengths, sum(len(row.tokens) - row.prompt_tokens for row in encoded)) / sum(lengths)
    peak = peak_flops(card) if card else None
    rates = {}
    for runner in ("evolcoder", "deepspeed"):
        out = place / runner
        out.mkdir()
        started = time.time()
        if runner == "evolcoder":
            command, metrics = evolcoder_command(model, rows, out, train), out / METRICS
            run_watched(runner, command, out, partial(_has_all_steps, metrics))
            found = evolcoder_steps(out, started)
            memory = found["steps"][-1]["memory_bytes"]
        else:
            options = [str(STEPS), str(batch), str(min(work.micro, batch)), str(out / "out.json")]
            options += [str(int(work.recompute)), str(work.rank)]
            run_watched(
                runner, [sys.executable, str(PEERS / "deepspeed_run.py"), str(model), str(place / "rows.jsonl"), *options], out
            )
            found = json.loads((out / "out.json").read_text("utf-8"))
            memory = found["memory_bytes"]
        steps = found["steps"][1:]
        useful, seconds = sum(step["useful"] for step in steps), sum(step["seconds"] for step in steps)
        padding = 1 - useful / sum(step["whole"] for step in steps)
        rates[runner] = useful / seconds
        mfu = f"{100 * rates[runner] * flops / peak:.1f} %" if peak else "-"
        print_row(
            name, runner, f"{shape.parameters / 1e9:.2f} billion", len(steps), f"{rates[runner]:,.0f}",
            f"{100 * padding:.1f} %", mfu, f"{memory / 1e9:.1f} GB", f"{found['first_step_seconds']:.0f} s",
        )  # fmt: skip
    print_row(name, "evolcoder / deepspeed", "", "", f"{rates['evolcoder'] / rates['deepspeed']:.2f}", "", "", "", "")


def _has_all_steps(metrics: Path) -> bool:
    return metrics.exists() and metrics.read_text("utf-8").count("\n") == STEPS


def _rows(count: int, short: bool) -> list[tuple[str, str, str]]:
    """Rows of random words: longer than what is trained on, or (``short``) of about 60 to 1,500 tokens, half above 330."""
    random.seed(0)
    words = ["for", "x", "in", "range", "(", "10", "):", "print", "return", "value", "+", "list", "name", "=", "self"]
    sizes = [min(1400, int(random.lognormvariate(5.6, 0.7))) if short else 2 * LENGTH for _ in range(count)]
    return [(f"Write program {number}.", "", " ".join(random.choices(words, k=size))) for number, size in enumerate(sizes)]


def _make(name: str, folder: Path, tiny: bool) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(os.environ.get("EVOLCODER_TOKENIZER") or embedded_model_folder())
    work = WORKS[name]
    config = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, **work.config}
    config |= {key: value for key, value in TINY.items() if key in config} if tiny else {}
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(work.kind, **config), dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    _make(sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "1")
