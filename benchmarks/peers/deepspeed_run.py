"""The work of ``benchmarks/train.py`` as a short script of DeepSpeed's own kind.

MODEL ROWS STEPS BATCH MICRO OUT [RECOMPUTE RANK]: RECOMPUTE is 1 to compute activations again in the backward pass, RANK that
of an adapter, or 0.
"""

import json
import os
import socket
import sys
import time

import torch

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
if not torch.cuda.is_available():
    os.environ["DS_ACCELERATOR"] = "cpu"

import deepspeed
from transformers import AutoModelForCausalLM

if not torch.cuda.is_available():  # else it compiles an operator of its own at first use
    deepspeed.ops.__compatible_ops__ = {}


def main() -> None:
    started = time.perf_counter()
    model_folder, rows_file, steps, batch, micro, out, recompute, rank = [*sys.argv[1:], "0", "0"][:8]
    with open(rows_file) as stream:
        rows = [json.loads(line) for line in stream]
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.bfloat16)
    if rank != "0":
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=int(rank), target_modules="all-linear", task_type="CAUSAL_LM"))
    if recompute == "1":
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    config = {
        "train_micro_batch_size_per_gpu": int(micro),
        "gradient_accumulation_steps": int(batch) // int(micro),
        "gradient_clipping": 1.0,
        "steps_per_print": 10**9,
        "bf16": {"enabled": True},
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_optimization": {"stage": 2, "overlap_comm": torch.cuda.is_available()},
        "zero_force_ds_cpu_optimizer": False,
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-5, "torch_adam": True, "fused": True}},
    }
    engine, *_ = deepspeed.initialize(
        model=model, config=config, model_parameters=[p for p in model.parameters() if p.requires_grad]
    )
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()
    measured = []
    for step in range(int(steps)):
        begun = time.perf_counter()
        taken = [rows[order[(step * int(batch) + place) % len(rows)]] for place in range(int(batch))]
        whole = 0
        for start in range(0, int(batch), int(micro)):
            group = taken[start : start + int(micro)]
            width = max(len(row["tokens"]) for row in group)
            ids = torch.zeros(len(group), width, dtype=torch.long)
            labels = torch.full((len(group), width), -100)
            for place, row in enumerate(group):
                ids[place, : len(row["tokens"])] = torch.tensor(row["tokens"])
                labels[place, row["prompt_tokens"] : len(row["tokens"])] = torch.tensor(row["tokens"][row["prompt_tokens"] :])
            whole += ids.numel()
            loss = engine(input_ids=ids.to(engine.device), labels=labels.to(engine.device), use_cache=False).loss
            engine.backward(loss)
            engine.step()
        useful = sum(len(row["tokens"]) for row in taken)
        measured.append({"useful": useful, "whole": whole, "seconds": time.perf_counter() - begun, "loss": float(loss)})
        if step == 0:
            first = time.perf_counter() - started
    with open(out, "w") as stream:
        memory = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        json.dump({"first_step_seconds": first, "steps": measured, "memory_bytes": memory}, stream)


if __name__ == "__main__":
    main()
