"""The work of ``benchmarks/train.py`` done with TRL, in its own environment: MODEL ROWS STEPS BATCH LENGTH OUT."""

import json
import sys
import time
from itertools import pairwise
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, TrainerCallback
from trl import SFTConfig, SFTTrainer


class Times(TrainerCallback):
    def __init__(self) -> None:
        self.ends = [time.perf_counter()]

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())


def main() -> None:
    times = Times()
    model_folder, rows_file, steps, batch, length, out = sys.argv[1:]
    with open(rows_file) as stream:
        rows = [json.loads(line) for line in stream]
    masks = [[place >= row["prompt_tokens"] for place in range(len(row["tokens"]))] for row in rows]
    data = Dataset.from_dict(
        {"input_ids": [row["tokens"] for row in rows], "completion_mask": [list(map(int, mask)) for mask in masks]}
    )
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.bfloat16)
    # Packed, a row of the batch is as long as `length`: as many of them as hold what a step of the others holds.
    mean = sum(len(row["tokens"]) for row in rows) / len(rows)
    packs = max(1, round(int(batch) * mean / int(length)))
    config = SFTConfig(
        output_dir=out + ".folder", max_steps=int(steps), per_device_train_batch_size=1, gradient_accumulation_steps=packs,
        max_length=int(length), packing=True, completion_only_loss=True, learning_rate=1e-5, bf16=True, report_to=[],
        use_cpu=not torch.cuda.is_available(), logging_steps=1, save_strategy="no", gradient_checkpointing=False,
        dataloader_pin_memory=False, optim="adamw_torch_fused",
    )  # fmt: skip
    trainer = SFTTrainer(model=model, args=config, train_dataset=data, callbacks=[times])
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "num_tokens" in entry and "loss" in entry]
    counts = [0, *(entry["num_tokens"] for entry in logs)]
    seconds = [end - start for start, end in pairwise(times.ends)]
    measured = [
        {"useful": after - before, "whole": after - before, "seconds": took, "loss": entry["loss"]}
        for (before, after), took, entry in zip(pairwise(counts), seconds, logs, strict=True)
    ]
    with open(out, "w") as stream:
        json.dump({"first_step_seconds": times.ends[1] - times.ends[0], "steps": measured}, stream)


if __name__ == "__main__":
    main()
