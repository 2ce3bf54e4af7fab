"""Whole trainings under Ray Train and DeepSpeed: of a tiny model, and one of the embedded model."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.train.conftest import training

from evolcoder.errors import ClusterError, ModelError, TrainingError
from evolcoder.models import find_model
from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import run_variants, up_to
from evolcoder.settings.run import RunSettings
from evolcoder.storage.arrow_files import read_table
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Stage, read_manifest
from evolcoder.train.encode import EncodedRow, row_of
from evolcoder.train.identity import train_stage
from evolcoder.train.job import ENCODED_FILE
from evolcoder.train.launch import train
from evolcoder.train.prepare import dataset_manifest, prepare
from evolcoder.train.schedule import global_batch, learning_rate

pytestmark = pytest.mark.slow

MakeRun = Callable[..., tuple[RunSettings, RunFolder]]


def metrics(run: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.train(1).read_text("metrics.jsonl").splitlines()]


def plain_losses(settings: RunSettings, run: RunFolder, model_folder: Path) -> list[tuple[float, float]]:
    """Loss and gradient norm of each step, from a few lines of torch on whole global batches, one row at a time."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    work = run.root / "reference"
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    prepare(run.dataset, dataset_manifest(run.dataset), up_to(1), tokenizer, settings.train, work)
    rows = read_table(work, ENCODED_FILE)
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0)
    steps = settings.train.max_steps or 0
    curve = []
    for step in range(steps):
        indices = global_batch(settings.train.seed, step, settings.train.global_batch_size, rows.num_rows)
        batch = [row_of(rows, n) for n in indices]
        total = sum(len(row.tokens) - row.prompt_tokens for row in batch)
        loss = sum(_row_loss(model, row) for row in batch) / total
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = learning_rate(settings.train, step, steps)
        optimizer.step()
        optimizer.zero_grad()
        curve.append((float(loss.detach()), float(norm)))
    return curve


def _row_loss(model: Any, row: EncodedRow) -> Any:
    import torch

    ids = torch.tensor([row.tokens])
    chosen = model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])
    return -chosen[row.prompt_tokens - 1 :].sum()


def test_a_training_ends_in_a_model_that_is_used_again(
    local_ray: None, make_run: MakeRun, tiny_model: Path, watch: Any
) -> None:
    settings, run = make_run(max_steps=None, epochs=1, weight_decay=0.1)
    assert not training(settings, run).state().done
    watcher = watch()
    manifest = train(settings, run, training(settings, run), tiny_model, watcher)

    assert manifest.summary["steps"] == 3
    assert manifest.summary["rows"] == 12
    assert manifest.summary["last_loss"] < manifest.summary["first_loss"]
    assert "12 rows of rounds 0-1" in watcher.text
    assert watcher.steps[-1] == 3
    assert {e.path for e in manifest.files} >= {"metrics.jsonl", "model/model.safetensors", "model/evolcoder.json"}
    assert not run.train(1).exists("checkpoints")
    card = json.loads(run.train(1).read_text("model/evolcoder.json"))
    assert card == {"prompt_style": "wizardcoder", "base_model": "embedded", "data_rounds": 1}
    _assert_trained(tiny_model, run.train(1).local_path / "model")

    assert training(settings, run).state().done
    again = watch()
    assert train(settings, run, training(settings, run), tiny_model, again) == manifest
    assert "nothing is trained again" in again.text
    assert not training(settings, run, "another base model").state().done
    assert not training(settings.model_copy(update={"train": settings.train.model_copy(update={"seed": 1})}), run).state().done
    moved = settings.model_copy(update={"train": settings.train.model_copy(update={"base_model": "/elsewhere", "workers": 2})})
    assert training(moved, run).state().done


def test_a_variant_is_trained_on_its_rows_into_a_folder_of_its_own(
    local_ray: None, make_run: MakeRun, tiny_model: Path, watch: Any
) -> None:
    settings, run = make_run(max_steps=1, warmup_steps=0)
    study = settings.study.model_copy(update={"alone": True, "seeds": (3,)})
    settings = settings.model_copy(update={"study": study})
    (variant,) = (one for one in run_variants(settings) if one.name == "round-1-seed-3")
    stage = train_stage(settings, run, (), Stage("dataset", run.dataset, {}), lambda: "base", variant)
    watcher = watch()
    manifest = train(settings, run, stage, tiny_model, watcher, variant)
    assert manifest.summary["rows"] == 6, "of 12"
    assert "6 rows of round 1 alone" in watcher.text
    assert (manifest.identity["rounds"], manifest.identity["seed"]) == ([1], 3)
    assert stage.state().done
    assert not run.train(1).exists("manifest.json")
    found = find_model("round-1-seed-3", settings)
    assert (found.name, found.folder) == ("run-round-1-seed-3", run.train("round-1-seed-3").local_path / "model")
    assert json.loads((found.folder / "evolcoder.json").read_text("utf-8"))["variant"] == "round 1 alone"


def _assert_trained(base: Path, tuned: Path) -> None:
    from transformers import AutoModelForCausalLM

    models = [AutoModelForCausalLM.from_pretrained(folder) for folder in (base, tuned)]
    changed = [bool((a != b).any()) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True)]
    assert all(changed)


@pytest.mark.parametrize(
    ("workers", "micro", "zero", "offload", "other_storage"),
    [
        (1, 4, 0, None, False),
        (2, 2, 3, "all", False),
        pytest.param(2, 1, 2, None, True, marks=pytest.mark.long),
    ],
)
def test_the_loss_curve_is_that_of_plain_torch_however_the_batch_is_divided(
    local_ray: None, make_run: MakeRun, tiny_model: Path, watch: Any, tmp_path: Path,
    workers: int, micro: int, zero: int, offload: str | None, other_storage: bool,
) -> None:  # fmt: skip
    import pyarrow.fs as pafs

    storage = Folder(pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem()), "bucket") if other_storage else None
    settings, run = make_run(
        storage=storage,
        workers=workers,
        micro_batch_size=micro,
        zero_stage=zero,
        offload=offload,
        checkpoint_steps=1,
        attention="eager" if other_storage else "auto",
    )
    train(settings, run, training(settings, run), tiny_model, watch())
    expected = plain_losses(settings, run, tiny_model)
    found = metrics(run)
    assert [row["step"] for row in found] == [1, 2, 3]
    assert [row["loss"] for row in found] == pytest.approx([loss for loss, _ in expected], rel=1e-5)
    assert [row["grad_norm"] for row in found] == pytest.approx([norm for _, norm in expected], rel=1e-4)
    if other_storage:
        _assert_trained(tiny_model, tmp_path / "bucket" / "run" / "train" / "1" / "model")


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "zero", "micro"), [("gpt_bigcode", 3, 2), ("codegen", 2, 1), ("qwen2", 1, 2), ("starcoder2", 2, 2)]
)
def test_other_architectures_learn_the_same_and_are_served(
    local_ray: None, make_run: MakeRun, tiny_base: Callable[[str], Path], watch: Any, kind: str, zero: int, micro: int
) -> None:
    base = tiny_base(kind)
    settings, run = make_run(workers=2, micro_batch_size=micro, zero_stage=zero)
    train(settings, run, training(settings, run), base, watch())
    expected = plain_losses(settings, run, base)
    assert [row["loss"] for row in metrics(run)] == pytest.approx([loss for loss, _ in expected], rel=1e-5)
    exported = run.train(1).local_path / "model"
    _assert_trained(base, exported)
    assert _served(exported, "Add 3 and 3.") == _generated(exported, "Add 3 and 3.")


def _served(folder: Path, instruction: str) -> str:
    """What the endpoint's engine answers to a chat, greedily."""
    import asyncio

    import torch

    from evolcoder.serve.engines.base import ChatPrompt, GenerationRequest, Piece, SamplingParams
    from evolcoder.serve.engines.transformers import TransformersEngine

    async def ask() -> str:
        prompt = ChatPrompt(({"role": "user", "content": instruction},))
        question = GenerationRequest((prompt,), SamplingParams(max_tokens=16, temperature=0.0))
        return "".join([piece.text async for piece in engine.answer(question, False) if isinstance(piece, Piece)])

    engine = TransformersEngine(folder, max_batch_size=1, threads=1, dtype=torch.float32)
    try:
        return asyncio.run(ask())
    finally:
        engine.close()


def _generated(folder: Path, instruction: str) -> str:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from evolcoder.text.templates import alpaca_prompt

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer(alpaca_prompt(instruction), return_tensors="pt")["input_ids"]
    return tokenizer.decode(  # type: ignore[no-any-return]
        model.generate(ids, do_sample=False, max_new_tokens=16)[0, ids.shape[1] :], skip_special_tokens=True
    )


def test_a_base_model_that_cannot_be_trained_so_is_refused_before_anything_starts(
    local_ray: None, make_run: MakeRun, tiny_base: Callable[[str], Path], watch: Any
) -> None:
    settings, run = make_run(sequence_length=1024)
    with pytest.raises(ModelError, match=r"train\.sequence_length=1024 is more than the 512 tokens that .* can hold; lower it"):
        train(settings, run, training(settings, run), tiny_base("gpt_bigcode"), watch())
    with pytest.raises(ModelError, match=r"is an encoder-decoder \(t5\); give a decoder-only model"):
        train(settings, run, training(settings, run), tiny_base("t5"), watch())


def test_a_training_ends_early_and_keeps_the_model_of_its_best_step(
    local_ray: None, make_run: MakeRun, tiny_model: Path, watch: Any
) -> None:
    """At such a rate the loss on what is held out rises soon; the model is that of a training that ended at its lowest."""
    import torch
    from safetensors.torch import load_file

    chosen: dict[str, Any] = {
        "held_out": 0.3,
        "evaluate_steps": 2,
        "learning_rate": 0.02,
        "schedule": "constant",
        "warmup_steps": 0,
    }
    settings, run = make_run(max_steps=40, early_stop_patience=2, **chosen)
    watcher = watch()
    manifest = train(settings, run, training(settings, run), tiny_model, watcher)
    losses = {row["step"]: row["held_out_loss"] for row in metrics(run) if "held_out_loss" in row}
    best = min(losses, key=lambda step: losses[step])
    assert list(losses) == list(range(2, best + 5, 2))
    assert manifest.summary["steps"] == best + 4 < 40
    assert (manifest.summary["model_of_step"], manifest.summary["held_out_loss"]) == (best, losses[best])
    assert f"back to step {best}" in watcher.text
    assert manifest.summary["rows"] + manifest.summary["held_out_rows"] == 12

    short, other = make_run("short", max_steps=best, **chosen)
    train(short, other, training(short, other), tiny_model, watch())
    models = [load_file(place.train(1).local_path / "model/model.safetensors") for place in (run, other)]
    for name, weight in models[1].items():
        assert torch.equal(models[0][name], weight), name


@pytest.mark.parametrize(
    ("workers", "zero", "precision"),
    [(1, 2, "fp32"), pytest.param(2, 3, "bf16", marks=pytest.mark.long), pytest.param(1, 0, "fp32", marks=pytest.mark.long)],
)
def test_an_adapter_learns_and_is_exported_by_itself_and_merged(
    local_ray: None, make_run: MakeRun, tiny_model: Path, watch: Any, workers: int, zero: int, precision: str
) -> None:
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    settings, run = make_run(
        lora={"rank": 4, "alpha": 16},
        learning_rate=0.05,
        max_steps=12,
        weight_decay=0.01,
        workers=workers,
        zero_stage=zero,
        precision=precision,
    )
    train(settings, run, training(settings, run), tiny_model, watch())
    found = metrics(run)
    assert found[-1]["loss"] < found[0]["loss"] - 0.1
    place = run.train(1).local_path
    merged = AutoModelForCausalLM.from_pretrained(place / "model", dtype=torch.float32)
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    untouched = {name: weight.clone() for name, weight in base.state_dict().items()}
    with_adapter = PeftModel.from_pretrained(base, place / "adapter")
    ids = torch.tensor([list(range(3, 40))])
    if precision == "fp32":
        torch.testing.assert_close(with_adapter(ids).logits, merged(ids).logits, rtol=1e-4, atol=1e-4)
    assert {name for name, weight in merged.state_dict().items() if not torch.allclose(weight, untouched[name], atol=1e-3)} == {
        name for name in untouched if "_proj" in name
    }
    assert all("lora_" in name for name in load_file(place / "adapter/adapter_model.safetensors"))
    # What is merged is rounded once, to the working precision: bf16 has 8 bits of mantissa.
    rounding = {"fp32": 1e-5, "bf16": 2.0**-8}[precision]
    for name, weight in with_adapter.merge_and_unload().state_dict().items():
        torch.testing.assert_close(merged.state_dict()[name], weight, rtol=rounding, atol=1e-6)
    assert _served(place / "model", "Add 3 and 3.") == _generated(place / "model", "Add 3 and 3.")


def test_targets_of_an_adapter_that_are_not_there_are_named(
    local_ray: None, make_run: MakeRun, tiny_model: Path, watch: Any
) -> None:
    settings, run = make_run(lora={"targets": ["q_proj", "c_attn"]})
    with pytest.raises(TrainingError, match=r"no layer of the base model is called 'c_attn'; its linear layers are .*q_proj"):
        train(settings, run, training(settings, run), tiny_model, watch())


@pytest.mark.long
def test_a_killed_worker_costs_nothing_but_time(local_ray: None, make_run: MakeRun, tiny_model: Path, watch: Any) -> None:
    settings, run = make_run(max_steps=16, global_batch_size=24, micro_batch_size=1, checkpoint_steps=4, learning_rate=3e-3)
    killed: list[int] = []

    def kill(step: int) -> None:
        if step >= 5 and not killed:
            killed.append(_training_worker())
            os.kill(killed[0], signal.SIGKILL)

    watcher = watch(kill)
    train(settings, run, training(settings, run), tiny_model, watcher)
    assert killed
    assert "was lost" in watcher.text
    assert any(f"going on after step {step}" in watcher.text for step in (4, 8, 12))
    found = metrics(run)
    assert [row["step"] for row in found] == list(range(1, 17))
    expected = plain_losses(settings, run, tiny_model)
    assert [row["loss"] for row in found] == pytest.approx([loss for loss, _ in expected], rel=1e-4)


def _training_worker() -> int:
    """The process of this test's own Ray that trains; other runs on the machine are left alone."""
    import psutil

    (worker,) = [
        process.pid
        for process in psutil.Process().children(recursive=True)
        if process.is_running() and "ray::RayTrainWorker" in " ".join(process.cmdline())
    ]
    return int(worker)


def test_a_loss_that_is_not_a_number_ends_training_with_a_sentence(
    local_ray: None, make_run: MakeRun, tiny_model: Path, watch: Any, tmp_path: Path
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    settings, run = make_run()
    with pytest.raises(
        TrainingError,
        match=r"The loss is nan at step 1, on rows (id\d{4}, ){3}id\d{4}: training has diverged.*The last checkpoint is kept",
    ):
        train(settings, run, training(settings, run), broken, watch())
    assert read_manifest(run.train(1)) is None


def test_more_workers_than_the_machine_has_are_refused_before_anything_starts(
    local_ray: None, make_run: MakeRun, tiny_model: Path, watch: Any
) -> None:
    settings, run = make_run(workers=1000, global_batch_size=1000)
    with pytest.raises(ClusterError, match=r"train\.workers=1000 needs 1000 .PUs, but the cluster has"):
        train(settings, run, training(settings, run), tiny_model, watch())


@pytest.mark.long
def test_the_embedded_model_learns_and_its_export_generates_and_stops(
    local_ray: None, make_run: MakeRun, row: Callable[..., dict[str, Any]], watch: Any
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from evolcoder.embedded import embedded_model_fingerprint, embedded_model_folder
    from evolcoder.text.templates import alpaca_prompt

    rows = [row(n, 0, "Say hi.", " hi") for n in range(2)]
    settings, run = make_run(
        rows=rows, data_rounds=0, max_steps=3, global_batch_size=2, learning_rate=3e-4, warmup_steps=0, precision="auto"
    )
    manifest = train(settings, run, training(settings, run, embedded_model_fingerprint()), embedded_model_folder(), watch())
    assert manifest.summary["last_loss"] < manifest.summary["first_loss"]
    folder = run.train(0).local_path / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.eos_token == "<|im_end|>"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    prompt = tokenizer([alpaca_prompt("Say hi.")], return_tensors="pt")
    answer = model.generate(prompt["input_ids"], attention_mask=prompt["attention_mask"], max_new_tokens=12, do_sample=False)
    assert tokenizer.decode(answer[0, prompt["input_ids"].shape[1] :]) == " hi<|im_end|>"
