"""Training on a GPU: it needs one, and nothing from a network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.train.conftest import tiny_model, tiny_tokenizer  # noqa: F401 - both are fixtures
from tests.train.test_checkpoints import phase

from evolcoder.console import Reporter
from evolcoder.records import INSTRUCTION_SCHEMA, Instruction
from evolcoder.run.folder import RunFolder
from evolcoder.settings.files import parse_settings
from evolcoder.settings.run import RunSettings
from evolcoder.storage.arrow_files import arrow_bytes
from evolcoder.storage.stage import Stage, describe_file
from evolcoder.text.templates import alpaca_prompt

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

LLAMA = {
    "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 8, "num_key_value_heads": 2,
    "max_position_embeddings": 2048, "tie_word_embeddings": True,
}  # fmt: skip
GPT = {
    "n_embd": 512, "n_layer": 6, "n_head": 8, "n_positions": 2048, "multi_query": True,
    "attn_pdrop": 0.1, "resid_pdrop": 0.1, "embd_pdrop": 0.1,
}  # fmt: skip
PLAIN = {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
KINDS: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "qwen2": LLAMA,
    "starcoder2": LLAMA | {"sliding_window": 64, "residual_dropout": 0.0, "embedding_dropout": 0.0},
    "gpt_bigcode": GPT | PLAIN,
}


def make_run(storage: Path, name: str, rows: int = 16, words: int = 10, **train: Any) -> tuple[RunSettings, RunFolder]:
    chosen = {
        "max_steps": 8, "global_batch_size": 8, "sequence_length": 256, "learning_rate": 1e-3, "warmup_steps": 1,
        "schedule": "constant", "checkpoint_steps": 4, **train,
    }  # fmt: skip
    settings = parse_settings({"name": name, "storage": str(storage), "evolve": {"rounds": 1}, "train": chosen}, "test")
    run = RunFolder.open(settings)
    made = [
        Instruction(
            f"id{n}", 0, None, f"id{n}", "seed", f"Print {n}.", "", f"\nprint({n})" + " # more" * (words * (1 + n % 4)),
            "t", "s", 1, 1, [], "kept", None,
        ).to_row()
        for n in range(rows)
    ]  # fmt: skip
    run.dataset.make()
    run.dataset.write_bytes("train-00000.arrow", arrow_bytes(made, INSTRUCTION_SCHEMA))
    Stage("dataset", run.dataset, {}).publish([describe_file(run.dataset, "train-00000.arrow", rows)])
    return settings, run


def train_on(settings: RunSettings, run: RunFolder, model: Path) -> list[dict[str, Any]]:
    """The metrics of a whole training, as its file has them."""
    from evolcoder.train.identity import train_stage
    from evolcoder.train.launch import train

    stage = train_stage(settings, run, (), Stage("dataset", run.dataset, {}), lambda: "random")
    train(settings, run, stage, model, Reporter("json"))
    return [json.loads(line) for line in run.train(1).read_text("metrics.jsonl").splitlines()]


@pytest.mark.parametrize(
    ("kind", "train"),
    [
        ("llama", {"precision": "auto", "zero_stage": 2}),
        ("gpt_bigcode", {"precision": "fp16", "zero_stage": 3, "offload": "all"}),
        ("qwen2", {"precision": "bf16", "zero_stage": 3, "lora": {"rank": 8}, "learning_rate": 1e-2}),
    ],
)
def test_a_model_learns_and_its_export_is_the_model(
    local_ray: None, tmp_path: Path, random_model: Callable[..., Path], tokenizer: Any, kind: str, train: dict[str, Any]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    settings, run = make_run(tmp_path, "gpu", **train)
    found = train_on(settings, run, random_model(kind, **(GPT if kind == "gpt_bigcode" else KINDS[kind])))
    assert [row["step"] for row in found] == list(range(1, 9))
    assert found[-1]["loss"] < 0.9 * found[0]["loss"]
    assert all(0 <= row["mfu"] < 1 and row["padding"] == 0 for row in found)
    place = run.train(1).local_path / "model"
    model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.bfloat16).cuda().eval()
    text = alpaca_prompt("Print 3.") + "\nprint(3)" + " # more" * 40 + tokenizer.eos_token
    ids = tokenizer(text, return_tensors="pt").input_ids.cuda()
    with torch.no_grad():
        loss = model(input_ids=ids, labels=ids).loss
    assert float(loss) < found[0]["loss"]


@pytest.mark.parametrize("kind", KINDS)
def test_packed_rows_have_the_loss_and_the_gradients_of_rows_alone(random_model: Callable[..., Path], kind: str) -> None:
    """In one kernel for all rows, with 16 bits: as near as two orders of summing are."""
    import torch
    from transformers import AutoModelForCausalLM

    from evolcoder.train import attention
    from evolcoder.train.encode import EncodedRow
    from evolcoder.train.steps import MicroBatch, packed, padded, response_loss_sum

    folder = random_model(kind, **KINDS[kind])
    rows = [EncodedRow([(7 * n + length) % 900 + 3 for n in range(length)], length // 3) for length in (210, 2, 170, 90, 400)]

    class Engine:
        device = torch.device("cuda")

        def __init__(self, implementation: str) -> None:
            self.module = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.bfloat16, attn_implementation=implementation
            ).cuda()  # fmt: skip

        def __call__(self, **inputs: Any) -> Any:
            return self.module(**inputs)

        def learn(self, *batches: MicroBatch) -> tuple[float, torch.Tensor]:
            total = sum(response_loss_sum(self, batch) for batch in batches)
            total.backward()
            gradients = [weight.grad.float().flatten() for weight in self.module.parameters() if weight.grad is not None]
            return float(total.detach()), torch.cat(gradients)

    flash, used = attention.varlen_attn, []
    attention.varlen_attn = lambda *given, **options: used.append(1) or flash(*given, **options)  # type: ignore[assignment]
    try:
        loss, gradient = Engine(attention.PACKED).learn(packed(rows))
        whole = packed(rows)
        _, crossing = Engine(attention.PACKED).learn(MicroBatch(whole.ids, whole.labels, [whole.ids.numel()]))
    finally:
        attention.varlen_attn = flash
    assert len(used) == 2 * 6
    wanted, other = Engine("sdpa").learn(*(padded([row], pad_id=0) for row in rows))
    assert loss == pytest.approx(wanted, rel=2e-3)
    assert float(torch.nn.functional.cosine_similarity(gradient, other, dim=0)) > 0.999
    assert float(torch.nn.functional.cosine_similarity(crossing, other, dim=0)) < 0.99
    assert float(gradient.norm() / other.norm()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("recompute", [True, False])
def test_memory_is_what_was_forecast(
    local_ray: None, tmp_path: Path, random_model: Callable[..., Path], recompute: bool
) -> None:
    from evolcoder.train.memory import forecast_memory
    from evolcoder.train.model_size import read_shape

    shape = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 16, "num_attention_heads": 16}
    model = random_model("llama", **(LLAMA | shape))
    wanted: dict[str, Any] = {
        "max_steps": 3,
        "sequence_length": 2048,
        "micro_batch_size": 4,
        "gradient_checkpointing": recompute,
    }
    settings, run = make_run(tmp_path, "memory", rows=32, words=4000, **wanted)
    found = train_on(settings, run, model)
    read = read_shape(model, settings.train)
    assert read is not None
    forecast = forecast_memory(settings.train, read, "bf16", True, 4 * 2048, recompute)
    assert all(0.01 < row["mfu"] < 1 for row in found)
    assert forecast.total == pytest.approx(found[-1]["memory_bytes"], rel=0.2), forecast


def test_a_training_goes_on_with_another_stage_and_offload(
    tiny_model: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    chain = [(1, 2, None), (1, 3, "all"), (1, 1, "optimizer"), (1, 3, None)]
    unbroken = phase(tiny_model, tmp_path / "unbroken", chain[0], "bf16", 2 * len(chain), gpu=True)["history"]
    for number, layout in enumerate(chain):
        found = phase(tiny_model, tmp_path / "broken", layout, "bf16", 2 * number + 2, gpu=True)["history"]
    assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in unbroken], rel=5e-3)
    assert unbroken[-1]["loss"] < unbroken[0]["loss"] - 0.1
